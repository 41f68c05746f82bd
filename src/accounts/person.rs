//! People whom a provider has identified. They have no account here, only sessions.

use serde::{Deserialize, Serialize};
use sqlx::Error;

use crate::{db::Row, sealing::MacInput};

/// A person at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The name, by which logs and the audit call the person.
    pub name: String,
    /// The provider.
    pub issuer: String,
    /// The identifier that the provider gives to no one else.
    pub subject: String,
    /// Those of the person's groups that had a role at the login.
    pub groups: Vec<String>,
}

impl Person {
    /// The person of a session; `None` for another owner.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, Error> {
        let text: Option<String> = row.get("person")?;
        let person = text.map(|text| serde_json::from_str(&text)).transpose();
        person.map_err(|error| Error::Decode(error.into()))
    }

    /// As it is stored.
    pub(super) fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::Encode(error.into()))
    }

    pub(super) fn add_to(&self, input: MacInput) -> MacInput {
        let texts = [&self.name, &self.issuer, &self.subject];
        let texts = texts.into_iter().chain(&self.groups);
        texts.fold(input, |input, text| input.field(text.as_bytes()))
    }
}
