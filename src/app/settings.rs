//! Converts sections of the configuration into the types of the modules.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use visavis_signing::Freshness;

use crate::{
    config::{Config, ListenAddress, QueueSection},
    gate::{ClientRate, GateConfig},
    http::{GatewayConfig, ServeError, ServerConfig, TlsFiles},
    queue::{QueueLimits, RetryPolicy},
    worker::{MaintenanceConfig, RunnerConfig},
};

pub(super) fn gateway_config(config: &Config) -> Result<GatewayConfig> {
    let http = &config.http;
    let burst = NonZeroU32::new(http.client_burst).unwrap_or(NonZeroU32::MIN);
    let gate = GateConfig {
        body_limit: http.body_limit_bytes,
        body_budget: http.body_budget_bytes,
        body_deadline: Duration::from_millis(http.body_deadline_ms),
        body_least_rate: http.body_min_bytes_per_s,
        freshness: Freshness::seconds(http.freshness_s),
        decrypt_failures: http.decrypt_failures_per_minute,
        client_rate: NonZeroU32::new(http.client_rate_per_s)
            .map(|per_second| ClientRate { per_second, burst }),
        client_burst: burst,
        signature_failures: http.signature_failures_per_minute,
        trusted_proxies: http.trusted_proxies.clone(),
        dedupe: config.queue.dedupe,
        queue: QueueLimits {
            jobs: config.queue.max_jobs,
            bytes: config.queue.max_bytes,
            client_share: config.queue.client_share,
        },
    };
    Ok(GatewayConfig {
        gate,
        compare_timeout: Duration::from_millis(http.compare_timeout_ms),
        pictures: config.image,
        fmr: config.compare.fmr_settings()?,
        several_faces: config.compare.several_faces,
    })
}

/// Warns if every user of the system can read the private key of TLS.
pub(super) fn warn_open_tls_key(config: &Config) {
    let Some(files) = tls_files(config) else { return };
    if let Some(mode) = files.open_key_mode() {
        let (file, mode) = (files.key.display(), format!("{mode:o}"));
        tracing::warn!(
            %file,
            mode,
            "every user can read the private key of TLS: run chmod 600 on it"
        );
    }
}

/// Certificate and key; `None` for plain HTTP.
pub fn tls_files(config: &Config) -> Option<TlsFiles> {
    let tls = &config.tls;
    (!tls.cert_file.is_empty()).then(|| TlsFiles {
        certificate: PathBuf::from(&tls.cert_file),
        key: PathBuf::from(&tls.key_file),
        reload: Duration::from_millis(tls.reload_ms),
    })
}

/// By default one address may have this fraction (1/4) of all connections.
const CONNECTION_SHARE: usize = 4;

/// The API server, or another one on `listen`, the address in `setting`, with the same timeouts and
/// limits.
pub(super) fn server_config(
    config: &Config,
    setting: &str,
    listen: &ListenAddress,
) -> Result<ServerConfig> {
    let http = &config.http;
    Ok(ServerConfig {
        listen: resolve(setting, listen)?,
        tls: tls_files(config),
        head_deadline: Duration::from_millis(http.head_deadline_ms),
        idle_deadline: Duration::from_millis(http.idle_timeout_ms),
        max_connections: http.max_connections,
        max_connections_per_address: match http.max_connections_per_address {
            0 => (http.max_connections / CONNECTION_SHARE).max(1),
            connections => connections,
        },
        trusted_proxies: http.trusted_proxies.clone(),
        send_continue: http.send_continue,
        max_streams: http.max_streams,
        drain: Duration::from_millis(http.drain_timeout_ms),
    })
}

/// The address that a setting names.
///
/// # Errors
/// When its host has no address.
pub fn resolve(setting: &str, listen: &ListenAddress) -> Result<SocketAddr> {
    listen.resolve().with_context(|| format!("{setting}: {listen} cannot be resolved"))
}

/// Why a server does not start; for a problem with its address, with the setting that has it.
pub fn listen_error(setting: &str, error: ServeError) -> anyhow::Error {
    let ServeError::Bind(..) = error else { return error.into() };
    let example = if setting == "admin.listen" {
        "VISAVIS_ADMIN_LISTEN=127.0.0.1:9465, or an empty one for no metrics"
    } else {
        "VISAVIS_HTTP_LISTEN=127.0.0.1:8081"
    };
    anyhow::anyhow!("{setting}: {error}: choose another address, such as {example}")
}

pub(super) fn runner_config(config: &Config) -> RunnerConfig {
    let (queue, worker) = (&config.queue, &config.worker);
    RunnerConfig {
        lease: Duration::from_millis(queue.lease_ms),
        job_deadline: Duration::from_millis(queue.job_deadline_ms),
        poll: Duration::from_millis(worker.poll_ms),
        drain: Duration::from_millis(worker.drain_timeout_ms),
        retry: RetryPolicy { max_attempts: queue.max_attempts, ..RetryPolicy::default() },
    }
}

pub(super) fn maintenance_config(queue: &QueueSection) -> MaintenanceConfig {
    MaintenanceConfig {
        retention: Duration::from_secs(queue.retention_s),
        every: Duration::from_mins(1),
    }
}
