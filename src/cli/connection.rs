//! The connection of a client command to a server, and why a request got no response.

use std::{io, net::ToSocketAddrs as _, path::Path, time::Duration};

use anyhow::{Error, Result, anyhow};
use rustls::CertificateError;
use visavis_loadgen::{ApiClient, MAX_CONNECTIONS, Protection};
use visavis_signing::Credentials;

use crate::{http::is_ca_as_server, outgoing};

/// A client of the server at `url`, which is scheme, host and port. `ca` is a PEM file with the
/// certificates to trust instead of the machine's.
pub(super) fn connect(
    url: &str,
    credentials: &Credentials,
    protection: Protection,
    timeout: Duration,
    ca: Option<&Path>,
) -> Result<ApiClient> {
    check_url(url)?;
    let agent = outgoing::agent(ca.map(outgoing::authorities).transpose().map_err(Error::msg)?)
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // With a new connection for each request, `bench` would measure the handshakes too.
        .max_idle_connections(MAX_CONNECTIONS)
        .max_idle_connections_per_host(MAX_CONNECTIONS)
        .build()
        .new_agent();
    ApiClient::new(agent, url, credentials, protection)
}

/// Checks that an address has a scheme and a host.
///
/// # Errors
/// What is missing, with an example.
fn check_url(url: &str) -> Result<()> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(anyhow!(
            "--url {url} has no scheme: use http://{url}, or https://{url} for TLS"
        ));
    };
    if !["http", "https"].contains(&scheme) {
        return Err(anyhow!("--url {url} has the scheme {scheme}: use http or https"));
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() || url.parse::<ureq::http::Uri>().is_err() {
        return Err(anyhow!(
            "--url {url} is not an address: use one such as {scheme}://127.0.0.1:8080"
        ));
    }
    Ok(())
}

/// The error of a request, with the cause in a sentence where no response came.
pub(super) fn explained(url: &str, error: Error) -> Error {
    match error.downcast::<ureq::Error>() {
        Ok(error) => explain(url.trim_end_matches('/'), error),
        Err(error) => error,
    }
}

fn explain(url: &str, error: ureq::Error) -> Error {
    let other_scheme = match url.split_once("://") {
        Some(("http", rest)) => format!("https://{rest}"),
        Some((_, rest)) => format!("http://{rest}"),
        None => url.to_owned(),
    };
    match error {
        ureq::Error::Protocol(_) if url.starts_with("http://") => {
            anyhow!("{url} does not support plain HTTP: if it has TLS, use {other_scheme}")
        }
        ureq::Error::HostNotFound => unknown_host(url),
        ureq::Error::Timeout(_) => anyhow!(
            "{url} did not respond in time: check that the server runs there, or raise --timeout"
        ),
        ureq::Error::Rustls(error) => explain_tls(url, &other_scheme, &error),
        ureq::Error::Io(error) => match tls_error(&error) {
            Some(error) => explain_tls(url, &other_scheme, error),
            None if error.kind() == io::ErrorKind::ConnectionRefused => anyhow!(
                "{url} refused the connection: start the server, or check host and port of --url"
            ),
            None if !is_known(url) => unknown_host(url),
            None => anyhow!(error).context(format!("no response from {url}")),
        },
        error => anyhow!(error).context(format!("no response from {url}")),
    }
}

fn unknown_host(url: &str) -> Error {
    anyhow!("{url}: no host has this name: check --url, or the name server of this machine")
}

/// Whether the host name in an address can be resolved.
fn is_known(url: &str) -> bool {
    let uri = url.parse::<ureq::http::Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host());
    host.is_some_and(|host| (host.trim_matches(['[', ']']), 0).to_socket_addrs().is_ok())
}

/// The TLS error that an I/O error wraps, at any depth.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let mut inner: Option<&(dyn std::error::Error + 'static)> =
        error.get_ref().map(|inner| inner as _);
    while let Some(error) = inner {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return tls_error(error);
        }
        inner = error.source();
    }
    None
}

fn explain_tls(url: &str, other_scheme: &str, error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(error) => {
            anyhow!("{url}: the certificate of the server {}", explain_certificate(error))
        }
        rustls::Error::InvalidMessage(_) => {
            anyhow!("{url} does not support TLS: if it has plain HTTP, use {other_scheme}")
        }
        rustls::Error::AlertReceived(alert) => {
            anyhow!(
                "{url} ended the TLS handshake ({alert:?}): check that it has a certificate for \
                 this name"
            )
        }
        error => anyhow!("{url}: TLS failed: {error}"),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        error if is_ca_as_server(error) => {
            "is that of an authority (CA:TRUE), which clients refuse: create it with -addext \
             basicConstraints=critical,CA:FALSE"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired: renew it, or set the clock of this machine".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: set the clock of this machine, or of the one that created it"
                .to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not from an authority that this machine trusts: pass the certificate of its \
             authority, or its own if it is self-signed, with --ca"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| readable_name(name)).collect();
            format!(
                "is for {}, not for {}: use one of its names in --url, or create it for this one",
                if names.is_empty() { "no name".to_owned() } else { names.join(", ") },
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => {
            "is for another name: use its name in --url, or create it for this one".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers: create it with -addext extendedKeyUsage=serverAuth".to_owned()
        }
        CertificateError::Revoked => "is revoked: replace it".to_owned(),
        error => format!("cannot be used: {error}"),
    }
}

/// `DnsName("localhost")` → `localhost`.
fn readable_name(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}
