//! Who a person is, by the claims of a provider.

use serde_json::{Map, Value};

/// Claims of an ID token or of the user info, by name.
pub(super) type Claims = Map<String, Value>;

/// Who has logged in at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The claim `sub`, which the provider gives to no other person.
    pub(crate) subject: String,
    /// The name, from the claim of the settings; `None` if the provider does not send it.
    pub(crate) name: Option<String>,
    /// The groups, from the claim of the settings.
    pub(crate) groups: Vec<String>,
}

/// The claim with a name, or at a path of names with dots between them, such as
/// `realm_access.roles`.
pub(super) fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The texts of a claim: one, or a list.
pub(super) fn texts(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_or_its_path() {
        let claims = json!({
            "groups": ["staff", 7, "ops"],
            "role": "lead",
            "realm_access": { "roles": ["admins"] },
            "https://example.com/groups": ["x"],
        });
        let claims = claims.as_object().unwrap();
        let texts = |name| claim(claims, name).map(texts);
        assert_eq!(texts("groups").unwrap(), ["staff", "ops"]);
        assert_eq!(texts("role").unwrap(), ["lead"]);
        assert_eq!(texts("realm_access.roles").unwrap(), ["admins"]);
        assert_eq!(texts("https://example.com/groups").unwrap(), ["x"]);
        assert_eq!(texts("realm_access").unwrap(), Vec::<String>::new());
        assert_eq!(texts("realm_access.missing"), None);
        assert_eq!(texts("role.missing"), None);
    }
}
