//! Logins to the console that are proven elsewhere: by an authenticating proxy, or by an `OpenID`
//! provider.

use std::path::PathBuf;

use super::{AdminSection, Config, ConfigError, OidcSection, one_source};
use crate::{
    oidc::{ProviderSettings, is_safe_url},
    secret::SecretSource,
};

impl Config {
    /// Whether a proxy or a provider names administrators of the console, so that the console's
    /// first token is not needed.
    pub(crate) fn has_external_administrators(&self) -> bool {
        let is_external = !self.admin.user_header.is_empty() || !self.oidc.issuer.is_empty();
        is_external && !self.admin.administrator_groups.is_empty()
    }
}

impl AdminSection {
    fn has_groups(&self) -> bool {
        let groups = [&self.viewer_groups, &self.operator_groups, &self.administrator_groups];
        groups.iter().any(|groups| !groups.is_empty())
    }
}

impl OidcSection {
    /// Where the client secret comes from; `None` for a public client.
    pub(crate) fn secret_source(&self) -> Option<SecretSource> {
        SecretSource::chosen(&self.client_secret_file, &self.client_secret_command)
    }

    /// The provider, if one is configured.
    pub fn provider(&self) -> Option<ProviderSettings> {
        (!self.issuer.is_empty()).then(|| ProviderSettings {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.secret_source(),
            ca_file: (!self.ca_file.is_empty()).then(|| PathBuf::from(&self.ca_file)),
            scopes: self.scopes.clone(),
            name_claim: self.name_claim.clone(),
            groups_claim: self.groups_claim.clone(),
        })
    }
}

/// The headers of an authenticating proxy.
pub(super) fn check_headers(admin: &AdminSection) -> Result<(), ConfigError> {
    let headers =
        [("admin.user_header", &admin.user_header), ("admin.groups_header", &admin.groups_header)];
    for (key, name) in headers {
        if !name.is_empty() && http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let why = format!("must be the name of a header; `{name}` is none");
            return Err(ConfigError::new(key, why));
        }
    }
    let is_complete = !admin.groups_header.is_empty() && !admin.login_proxies.is_empty();
    if admin.user_header.is_empty() || is_complete {
        return Ok(());
    }
    let why = "needs admin.groups_header and admin.login_proxies: without them no one has a role";
    Err(ConfigError::new("admin.user_header", why.to_owned()))
}

/// The `OpenID` provider.
pub(super) fn check_provider(oidc: &OidcSection, admin: &AdminSection) -> Result<(), ConfigError> {
    let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why.to_owned()));
    one_source("oidc.client_secret", &oidc.client_secret_file, &oidc.client_secret_command)?;
    if oidc.issuer.is_empty() {
        return Ok(());
    }
    if !is_safe_url(&oidc.issuer) {
        return wrong("oidc.issuer", "must be an https URL without query; http only on loopback");
    }
    if oidc.client_id.is_empty() {
        return wrong(
            "oidc.client_id",
            "is needed with oidc.issuer: the provider lists its clients",
        );
    }
    for (key, claim) in
        [("oidc.name_claim", &oidc.name_claim), ("oidc.groups_claim", &oidc.groups_claim)]
    {
        if claim.is_empty() {
            return wrong(key, "must name a claim");
        }
    }
    if admin.has_groups() {
        return Ok(());
    }
    wrong(
        "oidc.issuer",
        "needs admin.viewer_groups, admin.operator_groups or admin.administrator_groups: without \
         them no one has a role",
    )
}
