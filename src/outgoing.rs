//! The HTTP client of this program: it fetches models, sends the requests of the client commands and exports traces.

use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{RootCerts, TlsConfig},
    typestate::AgentScope,
};

/// Settings to start from. Trusted are the certificates that other programs of this machine trust: those of the operating system, or those
/// in the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Proxies come from the environment.
pub(crate) fn agent() -> ConfigBuilder<AgentScope> {
    Agent::config_builder().tls_config(tls(None))
}

/// Settings of TLS that trust these certificates, or those of the machine without any.
pub(crate) fn tls(own: Option<RootCerts>) -> TlsConfig {
    TlsConfig::builder().root_certs(own.unwrap_or(RootCerts::PlatformVerifier)).build()
}
