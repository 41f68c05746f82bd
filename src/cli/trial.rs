//! Tries the ports and folders that a start needs.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::{Result, bail};
use rustix::fs::{Access, access};
use ureq::tls::TlsConfig;

use super::finding::Finding;
use crate::{
    app,
    config::{Config, reached_at},
    http::ServeError,
};

/// How long to wait for the liveness probe of a server.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Listens on both addresses for a moment.
pub(super) fn ports(config: &Config) -> Finding {
    match try_ports(config) {
        Ok((detail, false)) => Finding::new("ports", Ok(detail)),
        Ok((detail, true)) => Finding::warning("ports", detail),
        Err(error) => Finding::new("ports", Err(error)),
    }
}

/// The finding, and whether it is a warning.
fn try_ports(config: &Config) -> Result<(String, bool)> {
    let is_served = !config.database.is_shared() && app::is_served(config);
    let (mut found, mut listening, mut is_taken) = (Vec::new(), Vec::new(), false);
    let admin = config.admin.address()?;
    let both = [("http.listen", Some(&config.http.listen)), ("admin.listen", admin.as_ref())];
    for (setting, address) in both {
        let Some(address) = address else { continue };
        let resolved = app::resolve(setting, address)?;
        match TcpListener::bind(resolved) {
            Ok(listener) => {
                // Both at once: they may be one address.
                listening.push(listener);
                found.push(format!("{setting} {address} is free"));
            }
            Err(_) if is_served => {
                found.push(format!("{setting} {address} is in use by this service"));
            }
            Err(error) => {
                let error = app::listen_error(setting, ServeError::Bind(resolved, error));
                if !is_visavis(config, setting, resolved) {
                    return Err(error);
                }
                is_taken = true;
                found.push(format!("{error}, unless this service listens there"));
            }
        }
    }
    Ok((found.join("; "), is_taken))
}

/// Whether a Visavis process listens there.
fn is_visavis(config: &Config, setting: &str, address: SocketAddr) -> bool {
    let is_tls = setting == "http.listen" && app::tls_files(config).is_some();
    let scheme = if is_tls { "https" } else { "http" };
    let address = reached_at(address);
    let agent = ureq::Agent::config_builder()
        .proxy(None)
        // Nothing secret is sent, and the certificate is for a host name.
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .timeout_global(Some(PROBE_TIMEOUT))
        .build()
        .new_agent();
    let response = agent.get(format!("{scheme}://{address}/health/live")).call();
    response.is_ok_and(|mut r| r.body_mut().read_to_string().is_ok_and(|body| body == "live\n"))
}

/// Whether this user can write to the folders of the service.
pub(super) fn folders(config: &Config) -> Result<String> {
    let data = &config.data.dir;
    let database = config.data.database_path(&config.database);
    let folders = if config.database.is_shared() {
        // It is created, and then used only for the token of the console.
        Vec::from_iter((!data.exists()).then_some(data.as_path()))
    } else {
        vec![data.as_path(), database.parent().unwrap_or(data)]
    };
    for folder in folders {
        let existing = folder.ancestors().find(|folder| folder.exists());
        // Of a relative path that does not exist yet.
        let existing = existing.filter(|folder| !folder.as_os_str().is_empty());
        let existing = existing.unwrap_or(Path::new("."));
        if let Err(error) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
            bail!(
                "{} is not writable for this user ({error}): run as the user of the service, or \
                 change its owner with chown",
                existing.display()
            );
        }
    }
    Ok("writable".to_owned())
}
