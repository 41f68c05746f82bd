//! The HTTP client of the program, for model downloads, client commands and traces.

use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{RootCerts, TlsConfig},
    typestate::AgentScope,
};

/// The common settings. Without `certificates` it trusts those of the operating system, or those
/// that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Proxies come from the environment.
pub(crate) fn agent(certificates: Option<RootCerts>) -> ConfigBuilder<AgentScope> {
    let trusted = certificates.unwrap_or(RootCerts::PlatformVerifier);
    Agent::config_builder().tls_config(TlsConfig::builder().root_certs(trusted).build())
}
