//! The HTTP client of the program, for model downloads, client commands, traces and `OpenID`
//! providers.

use std::{fs, path::Path};

use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
    typestate::AgentScope,
};

/// The common settings. Without `certificates` it trusts those of the operating system, or those
/// that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Proxies come from the environment.
pub(crate) fn agent(certificates: Option<RootCerts>) -> ConfigBuilder<AgentScope> {
    let trusted = certificates.unwrap_or(RootCerts::PlatformVerifier);
    Agent::config_builder().tls_config(TlsConfig::builder().root_certs(trusted).build())
}

/// The certificates of a PEM file, to be trusted instead of those of the operating system.
///
/// # Errors
/// In words, when the file cannot be read or has none.
pub(crate) fn authorities(path: &Path) -> Result<RootCerts, String> {
    let shown = path.display();
    let pem = fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(format!("{shown} has no PEM certificate"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
