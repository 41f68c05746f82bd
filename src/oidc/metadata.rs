//! What a provider says of itself (`OpenID` Connect Discovery 1.0).

use serde::Deserialize;
use url::{Host, Url};

use super::error::OidcError;

const WHAT: &str = "the metadata";

/// The endpoints of a provider.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether each authorization response names the issuer (RFC 9207).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Where the metadata of an issuer is.
    pub(super) fn url(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Reads the metadata of an issuer.
    ///
    /// # Errors
    /// [`OidcError::Unusable`] when it is of another issuer, or has an endpoint without TLS.
    pub(super) fn read(body: &[u8], issuer: &str) -> Result<Self, OidcError> {
        let read: Self =
            serde_json::from_slice(body).map_err(|error| OidcError::unusable(WHAT, error))?;
        if read.issuer != issuer {
            let shown: String = read.issuer.chars().take(200).collect();
            let reason =
                format!("they are of the issuer {shown:?}: set oidc.issuer to exactly that");
            return Err(OidcError::unusable(WHAT, reason));
        }
        let without_tls = read
            .endpoints()
            .find(|endpoint| !is_safe(endpoint) || has_tls(issuer) && endpoint.scheme() != "https");
        let without_tls = without_tls.cloned();
        match without_tls {
            Some(endpoint) => Err(OidcError::unusable(WHAT, format!("{endpoint} has no TLS"))),
            None => Ok(read),
        }
    }

    fn endpoints(&self) -> impl Iterator<Item = &Url> {
        let required = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri];
        let optional = [&self.userinfo_endpoint, &self.end_session_endpoint];
        required.into_iter().chain(optional.into_iter().flatten())
    }

    /// Whether the client secret goes into the header `Authorization`, as is the default, and not
    /// into the form.
    pub(super) fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// Whether an issuer is reached by TLS; otherwise it is on this machine.
pub(super) fn has_tls(issuer: &str) -> bool {
    issuer.starts_with("https:")
}

/// Whether what is sent there is encrypted, or does not leave the machine.
fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.has_host() && (url.scheme() == "https" || url.scheme() == "http" && is_loopback)
}

/// The same for a text, which must be a URL without query and fragment.
pub(crate) fn is_safe_url(text: &str) -> bool {
    Url::parse(text)
        .is_ok_and(|url| is_safe(&url) && url.query().is_none() && url.fragment().is_none())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://login.example/staff";

    fn metadata() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://login.example/auth",
            "token_endpoint": "https://login.example/token",
            "jwks_uri": "https://login.example/keys",
        })
    }

    fn read(metadata: &Value) -> Result<Metadata, String> {
        Metadata::read(metadata.to_string().as_bytes(), ISSUER).map_err(|e| e.to_string())
    }

    #[test]
    fn metadata_of_another_issuer_or_with_an_endpoint_without_tls_are_refused() {
        assert!(read(&metadata()).is_ok());
        for (field, value, reason) in [
            ("issuer", "https://login.example/staff/", "set oidc.issuer to exactly that"),
            ("token_endpoint", "http://login.example/token", "has no TLS"),
            ("userinfo_endpoint", "http://login.example/me", "has no TLS"),
            ("token_endpoint", "http://127.0.0.1:5432/", "has no TLS"),
            ("jwks_uri", "keys", "relative URL without a base"),
        ] {
            let mut changed = metadata();
            changed[field] = json!(value);
            let error = read(&changed).unwrap_err();
            assert!(error.contains(reason), "{field}: {error}");
        }
    }

    #[test]
    fn the_secret_is_sent_as_the_provider_takes_it() {
        assert!(read(&metadata()).unwrap().takes_basic());
        let mut changed = metadata();
        changed["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        assert!(!read(&changed).unwrap().takes_basic());
    }

    #[test]
    fn only_loopback_needs_no_tls() {
        for good in
            ["https://a.example", "http://127.0.0.1:8/x", "http://localhost", "http://[::1]/"]
        {
            assert!(is_safe_url(good), "{good}");
        }
        for bad in [
            "http://a.example",
            "http://localhost.example",
            "a.example",
            "https://a?b",
            "file:///a",
        ] {
            assert!(!is_safe_url(bad), "{bad}");
        }
    }

    #[test]
    fn metadata_are_below_the_issuer() {
        let expected = "https://a.example/.well-known/openid-configuration";
        assert_eq!(Metadata::url("https://a.example/"), expected);
        assert_eq!(Metadata::url("https://a.example"), expected);
    }
}
