//! The HTTP client of this program: it fetches models, sends the requests of the client commands and exports traces.

use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{RootCerts, TlsConfig},
    typestate::AgentScope,
};

/// Settings to start from. Without certificates of its own it trusts those that other programs of this machine trust: those of the
/// operating system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Proxies come from the environment.
pub(crate) fn agent(certificates: Option<RootCerts>) -> ConfigBuilder<AgentScope> {
    let trusted = certificates.unwrap_or(RootCerts::PlatformVerifier);
    Agent::config_builder().tls_config(TlsConfig::builder().root_certs(trusted).build())
}
