//! The sections of the configuration as types; `config/default.toml` explains every key.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;
use visavis_face::{DecodeLimits, calibration::Population, quality::QualityLimits};

use super::{Deprecation, ListenAddress};
use crate::gate::Network;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files on this machine.
    pub data: DataSection,
    /// The store.
    pub database: DatabaseSection,
    /// The socket and the gateway.
    pub http: HttpSection,
    /// Encryption of the socket.
    pub tls: TlsSection,
    /// Metrics and health, for operators.
    pub admin: AdminSection,
    /// Jobs and leases.
    pub queue: QueueSection,
    /// Compute threads.
    pub worker: WorkerSection,
    /// Memory.
    pub memory: MemorySection,
    /// Model packs.
    pub model: ModelSection,
    /// ONNX Runtime.
    pub runtime: RuntimeSection,
    /// The decision.
    pub compare: CompareSection,
    /// Limits on pictures.
    pub image: DecodeLimits,
    /// The log.
    pub log: LogSection,
    /// Where spans go.
    pub traces: TracesSection,
    /// Quality limits.
    pub quality: QualitySection,
    /// Settings that were given by their old names.
    #[serde(skip)]
    pub deprecated: Vec<Deprecation>,
}

/// Files on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Folder for database and master key.
    pub dir: PathBuf,
    /// The master key; empty for `master.key` in the folder.
    pub key_file: String,
}

/// The store.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSection {
    /// Empty for the embedded database in the data folder.
    pub url: String,
    /// Several addresses of Postgres instead of one.
    pub urls: Vec<String>,
    /// Which of them this process serves.
    pub shards: String,
    /// Connections of this process to each Postgres; 0 to choose by what the process does.
    pub connections: u32,
}

impl std::fmt::Debug for DatabaseSection {
    /// A database address may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseSection")
    }
}

/// The socket and the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    /// Address and port.
    pub listen: ListenAddress,
    /// Largest request body.
    pub body_limit_bytes: usize,
    /// Request bodies in memory at once.
    pub body_budget_bytes: usize,
    /// How long a body may take to arrive.
    pub body_deadline_ms: u64,
    /// Bytes per second of a body that must arrive on average; 0 for no limit.
    pub body_min_bytes_per_s: u32,
    /// How long a head may take to arrive.
    pub head_deadline_ms: u64,
    /// How long `compare` waits.
    pub compare_timeout_ms: u64,
    /// Window of Request-Time, ± seconds.
    pub freshness_s: u32,
    /// How many bodies of one client may fail to decrypt in a minute.
    pub decrypt_failures_per_minute: u32,
    /// How many requests from one address may fail to prove who they are in a minute; 0 for no limit.
    pub signature_failures_per_minute: u32,
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// Requests a second that one client may send; 0 for no limit.
    pub client_rate_per_s: u32,
    /// Requests at once that it may send after a pause.
    pub client_burst: u32,
    /// How long a connection may be idle between two requests.
    pub idle_timeout_ms: u64,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address; 0 for a quarter of them.
    pub max_connections_per_address: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// How long requests may take when the server is to stop.
    pub drain_timeout_ms: u64,
    /// How long to go on before that.
    pub shutdown_delay_ms: u64,
}

/// Encryption of the socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// Certificate chain, PEM; empty for plain HTTP.
    pub cert_file: String,
    /// Its private key, PEM.
    pub key_file: String,
    /// How often to look whether the files have changed.
    pub reload_ms: u64,
}

/// What is for operators and not for clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSection {
    /// Address and port; empty for none.
    pub listen: String,
    /// Whether the console is there too.
    pub console: bool,
    /// Names by which it is called, beside IP addresses and localhost.
    pub hosts: Vec<String>,
}

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesSection {
    /// Address of OTLP over HTTP; empty for none.
    pub endpoint: String,
}

/// Jobs and leases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSection {
    /// Whether a repeated signed request is one transaction.
    pub dedupe: bool,
    /// Jobs that may wait.
    pub max_jobs: u64,
    /// Bytes of pictures that may wait.
    pub max_bytes: u64,
    /// How much of both one client may have where there are others.
    pub client_share: f64,
    /// How long outcomes are kept.
    pub retention_s: u64,
    /// How long a claim is good for.
    pub lease_ms: u64,
    /// How long one job may take.
    pub job_deadline_ms: u64,
    /// Claims before a job is given up.
    pub max_attempts: u32,
    /// Bytes of pictures that are kept in memory until they are worked on in the same process.
    pub payload_cache_bytes: u64,
}

/// Compute threads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSection {
    /// How many; 0 for one per core, with a GPU two.
    pub threads: usize,
    /// `compare` requests that may wait for one.
    pub max_waiting_requests: usize,
    /// Turns of the queue for one of a client that waits.
    pub queue_weight: NonZeroU32,
    /// How long to wait for a wake-up before looking anyway.
    pub poll_ms: u64,
    /// How long running jobs may take when the process is to stop.
    pub drain_timeout_ms: u64,
    /// After how long a comparison is given up together with its process.
    pub hang_timeout_ms: u64,
}

/// Memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySection {
    /// For decoded pixels, bytes; 0 for what is free.
    pub pixels_bytes: u64,
}

/// Model packs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Folder with one folder per pack; empty to look in the usual places.
    pub dir: String,
    /// Which pack compares.
    pub pack: String,
    /// Copy of the public sources; empty for the sources themselves.
    pub mirror: String,
    /// Whether a pack without calibration may be used.
    pub allow_uncalibrated: bool,
}

/// ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeSection {
    /// The shared library; empty to look in the usual places.
    pub library: String,
    /// Where nets are run.
    pub device: String,
    /// How long the first face of a batch waits for others.
    pub batch_wait_ms: u64,
    /// How many a batch may have.
    pub batch_max: usize,
    /// The most that each net may take of a GPU's memory for each size of batch, in bytes; 0 for no limit.
    pub gpu_memory_bytes: usize,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareSection {
    /// False match rate at which the decision turns.
    pub fmr: f64,
    /// The one for portraits on documents; 0 for the same.
    pub document_fmr: f64,
    /// The one for documents of a code.
    pub fmr_by_source: BTreeMap<String, f64>,
    /// Among whom that rate is.
    pub population: Population,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// How lines look.
    pub format: LogFormat,
    /// Filter.
    pub level: String,
}

/// Quality limits.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualitySection {
    /// For pictures of the living person.
    pub selfie: QualityLimits,
    /// For portraits of documents.
    pub document: QualityLimits,
}
