//! Wiring: starts the service from the configuration.

mod audit_log;
mod background;
mod client_use;
mod console;
mod data;
mod expired_keys;
mod memory;
mod model;
mod open_files;
mod process_metrics;
mod runtime;
mod settings;

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use axum::Router;
pub use console::token_file;
pub use data::{
    Data, Database, check_database_file, database_name, is_served, open_data, open_data_for,
    open_to_others,
};
pub use memory::MemoryPlan;
pub use model::{Model, OpenedPack, installed_settings, load_model, model_dir, open_pack};
pub use open_files::{needed_files, raise_limit};
pub use runtime::library;
pub use settings::{listen_error, resolve, tls_files};
use visavis_face::{Device, Runtime, jpeg::DECODER};

use self::{
    background::Background,
    console::open_console,
    settings::{gateway_config, server_config, warn_open_tls_key},
};
use crate::{
    accounts::AccountStore,
    clients::ClientRegistry,
    clock::Clock,
    compare::Policy,
    config::Config,
    http::{
        About, AppState, CompareBackend, ServerConfig, Serving, admin, gateway, restrict_hosts,
        serve,
    },
    queue::{PayloadCache, Shard, Shards},
    shutdown::Shutdown,
    supervisor::Supervisor,
    telemetry,
    worker::{ComputePool, LocalComparer},
};

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// The API server, in a front end.
    pub serving: Option<Serving>,
    /// The server for operators, if it is enabled.
    pub admin: Option<Serving>,
    /// Version, device and pack.
    pub(crate) about: About,
    /// Why this device, where it was chosen.
    pub(crate) device_reason: Option<String>,
    /// Threads that compare.
    pub(crate) threads: usize,
    /// Its state, for readiness.
    pub app: AppState,
    data: Data,
    background: Supervisor,
    _lock: Option<std::fs::File>,
}

/// The roles of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Serves the API.
    pub front_end: bool,
    /// Compares.
    pub workers: bool,
}

/// Starts the roles, and housekeeping, on the configured databases.
///
/// # Errors
/// When anything that is needed is missing; nothing is left running then.
pub async fn start(config: &Config, roles: Roles, shutdown: &Shutdown) -> Result<Service> {
    // Postgres is for many processes, whose leases expire.
    let is_exclusive = !config.database.is_shared();
    if is_exclusive && !(roles.front_end && roles.workers) {
        bail!(
            "a front end without workers, or workers without a front end, need Postgres: set \
             database.url (VISAVIS_DATABASE_URL), or run `visavis serve` with workers"
        );
    }
    // Before the first metric is recorded.
    if !config.admin.listen.is_empty() {
        telemetry::metrics().map_err(anyhow::Error::msg)?;
    }
    if is_exclusive {
        data::close_to_others(config);
    }
    let lock = is_exclusive.then(|| data::lock(&config.data.dir)).transpose()?;
    let data = if roles.front_end {
        open_data(config).await?
    } else {
        data::open_worker_data(config).await?
    };
    if is_exclusive {
        recover(&data).await?;
    }
    let (pool, computing) = if roles.workers {
        let (pool, computing) = start_pool(config).await?;
        (Some(pool), Some(computing))
    } else {
        (None, None)
    };
    let clients = Arc::new(ClientRegistry::open(data.clients.clone()).await?);
    let local =
        pool.clone().map(|pool| LocalComparer::new(pool, config.worker.max_waiting_requests));
    let comparison = match &local {
        Some(local) => CompareBackend::Local(local.clone()),
        None => CompareBackend::Queued,
    };
    // A process that only stores jobs, or only works on them, has no use for the cache.
    let payload_cache = (roles.front_end && roles.workers && config.queue.payload_cache_bytes > 0)
        .then(|| PayloadCache::new(config.queue.payload_cache_bytes, MAX_CACHED_AGE));
    let shard = |database: &Database| {
        let store = database.store.clone();
        let store = match &payload_cache {
            Some(cache) => store.with_payload_cache(cache.clone()),
            None => store,
        };
        Shard::new(database.number, store)
    };
    let shards: Vec<_> = data.databases.iter().map(shard).collect();
    let app = AppState::new(
        clients,
        Shards::new(shards, config.database.count()),
        comparison,
        Clock::System,
        gateway_config(config)?,
    );
    let mut serving = if roles.front_end {
        warn_open_tls_key(config);
        let server = server_config(config, "http.listen", &config.http.listen)?;
        let serving = serve(gateway(app.clone()), &server, app.tasks.clone());
        Some(serving.map_err(|error| listen_error("http.listen", error))?)
    } else {
        None
    };
    let about = about(computing.as_ref());
    let device_reason = computing.as_ref().and_then(|found| found.device_reason.clone());
    let console = open_console(config, &app, &data, roles.front_end, local, &about)?;
    let admin = admin_server(config, &app, about.clone(), console)?;
    let threads = pool.as_ref().map_or(0, ComputePool::size);

    let mut background = Background::new(&app, shutdown);
    for (shard, database) in app.shards.iter().zip(&data.databases) {
        background.start_shard(config, shard, &database.db, pool.as_ref());
        if roles.front_end {
            background.start_waiting_room(shard);
        }
    }
    background.start_housekeeping(config, &app, &data.clients);
    if let Some(reload) = serving.as_mut().and_then(Serving::take_reload) {
        background.start_tls_reload(reload);
    }
    if let Some((pool, computing)) = pool.zip(computing) {
        background.start_watchdog(config, pool, computing.runtime);
    }
    app.set_ready(true);
    Ok(Service {
        serving,
        admin,
        about,
        device_reason,
        threads,
        app,
        data,
        background: background.supervisor,
        _lock: lock,
    })
}

/// Puts back the jobs of an earlier process on this data folder.
async fn recover(data: &Data) -> Result<()> {
    for database in &data.databases {
        let recovered = database.store.recover().await?;
        if recovered > 0 {
            tracing::info!(recovered, "resuming jobs of an earlier run");
        }
    }
    Ok(())
}

/// What the compute threads work with.
#[derive(Debug)]
struct Computing {
    /// Where they run the nets.
    runtime: Runtime,
    /// Why on this device, where it was chosen.
    device_reason: Option<String>,
    policy: Arc<Policy>,
}

/// Compute threads, each with the configured pack loaded and warm, and what they work with.
async fn start_pool(config: &Config) -> Result<(ComputePool, Computing)> {
    let Model { factory, policy, pack, threads, runtime, device_reason } = load_model(config)?;
    let device = runtime.device();
    let decider = Arc::clone(&policy);
    let pool = tokio::task::spawn_blocking(move || {
        // Opens the nets that all share, so that what is wrong with a GPU is found once and not by
        // every thread in turn.
        if device.is_shared() {
            drop(factory()?);
        }
        ComputePool::start(threads, &factory, &decider)
    });
    let pool = pool.await??;
    pool.set_queue_weight(config.worker.queue_weight);
    let model = device.model_name();
    tracing::debug!(pack = pack.name, threads, %device, model, "engines are warm");
    Ok((pool, Computing { runtime, device_reason, policy }))
}

impl Service {
    /// Whether people log in to the console by name. A process without the first database, which
    /// has the accounts, needs no token either.
    ///
    /// # Errors
    /// When the accounts cannot be read.
    pub(crate) async fn has_console_administrator(&self) -> Result<bool> {
        match self.data.clients.table(0) {
            Some(first) => Ok(AccountStore::new(first.store.clone()).has_administrator().await?),
            None => Ok(true),
        }
    }

    /// Returns the reason when the process has to be restarted.
    pub async fn failed(&self) -> String {
        self.app.tasks.failed().await
    }

    /// Ends in order: accepts no new requests, finishes running ones, finishes or puts back jobs,
    /// closes the databases. `shutdown` must have been triggered.
    ///
    /// # Errors
    /// When the socket had failed.
    pub async fn stop(mut self) -> Result<()> {
        self.app.set_ready(false);
        if let Some(serving) = self.serving {
            serving.stop().await?;
        }
        self.background.stop().await;
        self.background.end().await;
        // Last, so that operators can watch the shutdown.
        if let Some(admin) = self.admin {
            admin.stop().await?;
        }
        self.data.close().await;
        // Blocks, but nothing else is left to do.
        telemetry::traces::finish();
        Ok(())
    }
}

/// Starts the server for operators, if one is configured.
fn admin_server(
    config: &Config,
    app: &AppState,
    about: About,
    console: Router,
) -> Result<Option<Serving>> {
    let Some(listen) = config.admin.address()? else { return Ok(None) };
    let metrics = telemetry::metrics().map_err(anyhow::Error::msg)?;
    telemetry::set_info(&about.labels());
    let server = server_config(config, "admin.listen", &listen)?;
    let server = ServerConfig { tls: None, drain: ADMIN_DRAIN, ..server };
    let router = admin(app.clone(), about, metrics).merge(console);
    let router = restrict_hosts(router, &config.admin.hosts);
    let serving = serve(router, &server, app.tasks.clone())
        .map_err(|error| listen_error("admin.listen", error))?;
    Ok(Some(serving))
}

/// What operators see of this process; without workers it has no device.
fn about(computing: Option<&Computing>) -> About {
    let text = |text: Option<String>| text.unwrap_or_default();
    let device = computing.map(|computing| computing.runtime.device());
    let policy = computing.map(|computing| &computing.policy);
    About {
        version: env!("CARGO_PKG_VERSION"),
        provider: device.map_or("", Device::provider),
        device: text(device.map(|device| device.to_string())),
        device_name: text(device.map(Device::model_name)),
        jpeg: DECODER,
        pack: text(policy.map(|policy| policy.model().to_owned())),
        calibration: text(policy.map(|policy| policy.calibration().to_owned())),
    }
}

/// How long pictures of accepted jobs are cached for a worker of this process.
const MAX_CACHED_AGE: Duration = Duration::from_secs(10);
/// Time for running requests of operators.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
