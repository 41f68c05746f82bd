//! The sections of the configuration as types; `config/default.toml` explains every key.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;
use visavis_face::{DecodeLimits, calibration::Population, quality::QualityLimits};

use super::{Deprecation, ListenAddress};
use crate::{compare::SeveralFaces, gate::Network};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files on this machine.
    pub data: DataSection,
    /// The store.
    pub(crate) database: DatabaseSection,
    /// The socket and the gateway.
    pub http: HttpSection,
    /// Encryption of the socket.
    pub(crate) tls: TlsSection,
    /// Metrics and health, for operators.
    pub admin: AdminSection,
    /// The provider at which people log in to the console.
    pub oidc: OidcSection,
    /// Jobs and leases.
    pub queue: QueueSection,
    /// Compute threads.
    pub worker: WorkerSection,
    /// Memory.
    pub(crate) memory: MemorySection,
    /// Model packs.
    pub model: ModelSection,
    /// ONNX Runtime.
    pub runtime: RuntimeSection,
    /// The decision.
    pub(crate) compare: CompareSection,
    /// Limits on pictures.
    pub image: DecodeLimits,
    /// The log.
    pub(crate) log: LogSection,
    /// The export of spans.
    pub(crate) traces: TracesSection,
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
    pub(crate) key_file: String,
    /// An environment variable with the master key instead.
    pub(crate) key_variable: String,
    /// A command that prints it instead.
    pub(crate) key_command: Vec<String>,
}

/// The store.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSection {
    /// Empty for the embedded database in the data folder.
    pub(crate) url: String,
    /// Several addresses of Postgres instead of one.
    pub(crate) urls: Vec<String>,
    /// A file with the password; empty for none.
    pub(crate) password_file: String,
    /// A command that prints it instead.
    pub(crate) password_command: Vec<String>,
    /// Which of them this process serves.
    pub(crate) shards: String,
    /// Connections of this process to each Postgres; 0 for a default by role.
    pub(crate) connections: u32,
    /// How long a start waits for Postgres.
    pub(crate) start_timeout_ms: u64,
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
    pub(crate) body_limit_bytes: usize,
    /// Request bodies in memory at once.
    pub(crate) body_budget_bytes: usize,
    /// Time for a body to arrive.
    pub(crate) body_deadline_ms: u64,
    /// Minimum average rate of a body; 0 for no limit.
    pub(crate) body_min_bytes_per_s: u32,
    /// Time for a head to arrive.
    pub(crate) head_deadline_ms: u64,
    /// Time that `compare` waits for an outcome.
    pub(crate) compare_timeout_ms: u64,
    /// Window of Request-Time, ± seconds.
    pub(crate) freshness_s: u32,
    /// Bodies of one client that may fail to decrypt per minute.
    pub decrypt_failures_per_minute: u32,
    /// Failed authentications allowed per address and minute; 0 for no limit.
    pub(crate) signature_failures_per_minute: u32,
    /// Proxies whose X-Forwarded-For is trusted.
    pub(crate) trusted_proxies: Vec<Network>,
    /// Average rate of requests per client; 0 for no limit.
    pub(crate) client_rate_per_s: u32,
    /// Requests that a client may send at once after a pause.
    pub(crate) client_burst: u32,
    /// Time after which an idle connection is closed.
    pub(crate) idle_timeout_ms: u64,
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// Connections at once from one address; 0 for a quarter of them.
    pub(crate) max_connections_per_address: usize,
    /// Whether a client that waits for `100 Continue` gets it.
    pub(crate) send_continue: bool,
    /// Requests at once on one HTTP/2 connection.
    pub(crate) max_streams: u32,
    /// Time for running requests after a shutdown request.
    pub(crate) drain_timeout_ms: u64,
    /// Grace period before shutdown.
    pub(crate) shutdown_delay_ms: u64,
}

/// Encryption of the socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// Certificate chain, PEM; empty for plain HTTP.
    pub(crate) cert_file: String,
    /// Its private key, PEM.
    pub(crate) key_file: String,
    /// Interval of the check whether the files have changed.
    pub(crate) reload_ms: u64,
}

/// The server for operators.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSection {
    /// Address and port; empty for none.
    pub listen: String,
    /// Whether the console is enabled there.
    pub(crate) console: bool,
    /// Accepted Host names, besides IP addresses and localhost.
    pub(crate) hosts: Vec<String>,
    /// Header in which an authenticating proxy names the user; empty for none.
    pub(crate) user_header: String,
    /// Header in which it names their groups.
    pub(crate) groups_header: String,
    /// Addresses from which both are believed.
    pub(crate) login_proxies: Vec<Network>,
    /// Groups that have the role viewer.
    pub(crate) viewer_groups: Vec<String>,
    /// Groups that have the role operator.
    pub(crate) operator_groups: Vec<String>,
    /// Groups that have the role administrator.
    pub(crate) administrator_groups: Vec<String>,
}

/// The `OpenID` provider at which people log in to the console.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSection {
    /// Its issuer; empty for none.
    pub(crate) issuer: String,
    /// The client that it knows.
    pub(crate) client_id: String,
    /// A file with the secret of the client; empty for none.
    pub(crate) client_secret_file: String,
    /// A command that prints it instead.
    pub(crate) client_secret_command: Vec<String>,
    /// Authorities to trust instead of those of the operating system; empty for the latter.
    pub(crate) ca_file: String,
    /// Scopes besides `openid`.
    pub(crate) scopes: Vec<String>,
    /// Claim with the name of a person.
    pub(crate) name_claim: String,
    /// Claim with the groups of a person.
    pub(crate) groups_claim: String,
}

/// The export of spans.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesSection {
    /// Address of OTLP over HTTP; empty for none.
    pub(crate) endpoint: String,
}

/// Jobs and leases.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSection {
    /// Whether repeated requests with the same signature are one transaction.
    pub dedupe: bool,
    /// Maximum number of queued jobs.
    pub(crate) max_jobs: u64,
    /// Maximum size of queued pictures.
    pub(crate) max_bytes: u64,
    /// Share of both that one client may have while others have jobs.
    pub(crate) client_share: f64,
    /// Time that an outcome is available.
    pub(crate) retention_s: u64,
    /// Duration of a lease.
    pub(crate) lease_ms: u64,
    /// Time for one job.
    pub(crate) job_deadline_ms: u64,
    /// Attempts before a job fails for good.
    pub(crate) max_attempts: u32,
    /// Size of the cache of pictures for workers of the same process.
    pub(crate) payload_cache_bytes: u64,
}

/// Compute threads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSection {
    /// Number of threads; 0 for one per core, two with a GPU.
    pub threads: usize,
    /// `compare` requests that may wait for a thread.
    pub(crate) max_waiting_requests: usize,
    /// Turns of the queue for each turn of a client that waits.
    pub(crate) queue_weight: NonZeroU32,
    /// Interval of polling for jobs without a notification.
    pub(crate) poll_ms: u64,
    /// Time for running jobs after a shutdown request.
    pub(crate) drain_timeout_ms: u64,
    /// Time after which a comparison counts as hung and the process exits.
    pub(crate) hang_timeout_ms: u64,
}

/// Memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySection {
    /// For decoded pixels, bytes; 0 for a default from the free memory.
    pub(crate) pixels_bytes: u64,
}

/// Model packs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Folder with one folder per pack; empty for the default folders.
    pub dir: String,
    /// The name of the pack.
    pub pack: String,
    /// Copy of the public sources; empty for the sources themselves.
    pub(crate) mirror: String,
    /// Whether a pack without calibration may be used.
    pub(crate) allow_uncalibrated: bool,
}

/// ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeSection {
    /// The shared library; empty for the default folders.
    pub library: String,
    /// The device for the nets.
    pub(crate) device: String,
    /// Time that the first face of a batch waits for others.
    pub(crate) batch_wait_ms: u64,
    /// Maximum number of faces in a batch.
    pub(crate) batch_max: usize,
    /// Limit on GPU memory of each net and size of batch, bytes; 0 for no limit.
    pub(crate) gpu_memory_bytes: usize,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareSection {
    /// Target false match rate.
    pub(crate) fmr: f64,
    /// The rate for portraits on documents; 0 for the same.
    pub(crate) document_fmr: f64,
    /// Rates for documents with certain codes.
    pub(crate) fmr_by_source: BTreeMap<String, f64>,
    /// The pairs of people that the rate refers to.
    pub(crate) population: Population,
    /// What to do with a photo that shows several people.
    pub(crate) several_faces: SeveralFaces,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// logfmt.
    Text,
    /// One JSON object per line.
    Json,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// Format of lines.
    pub(crate) format: LogFormat,
    /// Filter.
    pub(crate) level: String,
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
