//! What an app needs to call: the file that `visavis client add --out` writes.

use serde::{Deserialize, Serialize};

/// The ids and keys of a client, as `visavis client add --json` prints them. RSA keys are bare
/// base64 DER.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Client-Id header.
    pub client_id: String,
    /// Which generation of keys these are.
    #[serde(default = "first")]
    pub key_version: u32,
    /// PKCS#8; absent when the app keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant_private_key: Option<String>,
    /// SPKI.
    pub merchant_public_key: String,
    /// SPKI.
    pub server_public_key: String,
    /// For AK/SK mode.
    pub access_key: String,
    /// For AK/SK mode, base64url.
    pub secret_key: String,
}

impl std::fmt::Debug for Credentials {
    /// Most of it is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, version {})", self.client_id, self.key_version)
    }
}

fn first() -> u32 {
    1
}
