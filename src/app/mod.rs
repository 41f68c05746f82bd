//! Wiring: from the configuration to things that run.

mod audit_log;
mod console;
mod data;
mod expired_keys;
mod memory;
mod model;
mod settings;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use axum::Router;
use tokio::task::JoinHandle;

pub use console::token_file;
pub use data::{Data, Database, database_name, look_at_data, open_data, open_to_others};
pub use memory::MemoryPlan;
pub use model::{Model, OpenedPack, installed_settings, library, load_model, model_dir, open_pack};
pub use settings::tls_files;

use self::{
    console::open_console,
    settings::{
        gateway_config, maintenance_config, runner_config, server_config, warn_open_tls_key,
    },
};
use crate::{
    clients::ClientRegistry,
    clock::Clock,
    compare::{Policy, Viewer},
    config::Config,
    db::Db,
    face::{Device, Runtime, jpeg::DECODER},
    http::{
        About, AppState, Comparison, ServerConfig, Serving, admin, gateway, restrict_hosts, serve,
    },
    queue::{Kept, QueuedComparer, Shard, Shards},
    shutdown::Shutdown,
    telemetry,
    worker::{ComputePool, LocalComparer, Maintenance, Runner, watch},
};

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// Where it listens, if it is a front end.
    pub serving: Option<Serving>,
    /// Where operators look, if anywhere.
    pub admin: Option<Serving>,
    /// Its state, for readiness.
    pub app: AppState,
    data: Data,
    /// End by themselves when the process is to stop.
    tasks: Vec<JoinHandle<()>>,
    /// Needed until the last request is answered.
    servants: Vec<JoinHandle<()>>,
    watchdog: Option<JoinHandle<bool>>,
    _lock: Option<std::fs::File>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Answers the API.
    pub front_end: bool,
    /// Compares.
    pub workers: bool,
}

/// Starts what the roles say, and housekeeping, on the configured databases.
///
/// # Errors
/// When anything that is needed is missing; nothing is left running then.
pub async fn start(config: &Config, roles: Roles, shutdown: &Shutdown) -> Result<Service> {
    // Postgres is for many processes; their leases end by themselves.
    let alone = !config.database.is_shared();
    if alone && !(roles.front_end && roles.workers) {
        bail!(
            "front end and workers can be apart only on Postgres: set database.url (VISAVIS_DATABASE_URL), or run \
             `visavis serve` with workers"
        );
    }
    if !config.traces.endpoint.is_empty() {
        telemetry::spans::start(&config.traces.endpoint).map_err(anyhow::Error::msg)?;
    }
    // Before anything has something to tell.
    let upkeep = if config.admin.listen.is_empty() {
        None
    } else {
        telemetry::metrics().map_err(anyhow::Error::msg)?;
        Some(tokio::spawn(telemetry::keep_up()))
    };
    if alone {
        data::close_to_others(config);
    }
    let lock = alone.then(|| data::lock(&config.data.dir)).transpose()?;
    let data = if roles.front_end {
        open_data(config).await?
    } else {
        data::open_data_of_worker(config).await?
    };
    if alone {
        recover(&data).await?;
    }
    let (pool, computing) = if roles.workers {
        let (pool, computing) = start_pool(config).await?;
        (Some(pool), Some(computing))
    } else {
        (None, None)
    };
    let clients = Arc::new(ClientRegistry::open(data.clients.clone()).await?);
    let local = pool.clone().map(|pool| Arc::new(LocalComparer::new(pool, config.worker.waiting)));
    let comparison = match &local {
        Some(local) => Comparison::Local(local.clone()),
        None => Comparison::Queued(QueuedComparer),
    };
    // A process that only stores jobs, or only works on them, would keep their pictures for nobody.
    let kept = (roles.front_end && roles.workers && config.queue.kept_bytes > 0)
        .then(|| Kept::new(config.queue.kept_bytes, KEPT_FOR));
    let shard = |database: &Database| {
        let store = database.store.clone();
        let store = match &kept {
            Some(kept) => store.keeping(kept.clone()),
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
    let serving = if roles.front_end {
        warn_open_tls_key(config);
        Some(serve(gateway(app.clone()), &server_config(config))?)
    } else {
        None
    };
    let viewer = local.map(|local| local as Arc<dyn Viewer>);
    let about = about(computing.as_ref());
    let console = open_console(config, &app, &data, roles, viewer, &about);
    let admin = admin_server(config, &app, about, console)?;

    let (mut tasks, mut servants) = (Vec::new(), Vec::new());
    for (shard, database) in app.shards.iter().zip(&data.databases) {
        tasks.extend(start_shard(config, shard, &database.db, pool.as_ref(), shutdown));
        if roles.front_end {
            servants.push(tokio::spawn(shard.waiting.clone().serve(shard.store.clone())));
        }
    }
    tasks.push(tokio::spawn(expired_keys::purge(data.clients.clone(), shutdown.clone())));
    tasks.push(tokio::spawn(audit_log::run(data.clients.clone(), shutdown.clone())));
    servants.extend(upkeep);
    servants.push(tokio::spawn(forget_quiet_clients(app.clone())));
    let limit = Duration::from_millis(config.worker.stuck_ms);
    let broken = move || computing.as_ref().is_some_and(|computing| computing.runtime.is_gone());
    let watchdog = pool.map(|pool| tokio::spawn(watch(pool, limit, broken, shutdown.clone())));
    app.set_ready(true);
    Ok(Service { serving, admin, app, data, tasks, servants, watchdog, _lock: lock })
}

/// Jobs that a dead process of this data folder was at.
async fn recover(data: &Data) -> Result<()> {
    for database in &data.databases {
        let recovered = database.store.recover().await?;
        if recovered > 0 {
            tracing::info!(recovered, "jobs of an earlier run are taken up again");
        }
    }
    Ok(())
}

/// What keeps one database going: housekeeping, workers, and word of new jobs.
fn start_shard(
    config: &Config,
    shard: &Shard,
    db: &Db,
    pool: Option<&ComputePool>,
    shutdown: &Shutdown,
) -> Vec<JoinHandle<()>> {
    let housekeeping = maintenance_config(&config.queue);
    let maintenance =
        Maintenance::new(shard.store.clone(), shard.gauge.clone(), housekeeping, shard.number);
    let mut tasks = vec![tokio::spawn(maintenance.run(shutdown.clone()))];
    if let Some(pool) = pool {
        let here = Arc::clone(shard.wake.here());
        let runner = Runner::new(shard.store.clone(), pool.clone(), runner_config(config), here);
        tasks.push(tokio::spawn(runner.run(shutdown.clone())));
    }
    if let Db::Postgres(db) = db {
        let wake = &shard.wake;
        tasks.push(tokio::spawn(wake.clone().announce(db.clone(), shutdown.clone())));
        if pool.is_some() {
            tasks.push(tokio::spawn(wake.clone().listen(db.clone(), shutdown.clone())));
        }
    }
    tasks
}

async fn forget_quiet_clients(app: AppState) {
    loop {
        tokio::time::sleep(Duration::from_mins(1)).await;
        app.gate.forget_idle_clients();
    }
}

/// What the compute threads work with.
#[derive(Debug)]
struct Computing {
    /// Where they run the nets.
    runtime: Runtime,
    policy: Arc<Policy>,
}

/// Compute threads, each with the configured pack loaded and warm, and what they work with.
async fn start_pool(config: &Config) -> Result<(ComputePool, Computing)> {
    let Model { factory, policy, pack, threads, runtime } = load_model(config)?;
    let device = runtime.device();
    let decider = Arc::clone(&policy);
    let pool = tokio::task::spawn_blocking(move || {
        // Opens the nets that all share, so that what is wrong with a GPU is found once and not by every thread in turn.
        if device.is_shared() {
            drop(factory()?);
        }
        ComputePool::start(threads, &factory, &decider)
    });
    let pool = pool.await??;
    pool.set_queue_weight(config.worker.queue_weight);
    let model = device.model_name();
    tracing::info!(pack = pack.name, threads, %device, model, "engines are warm");
    Ok((pool, Computing { runtime, policy }))
}

impl Service {
    /// Returns when a comparison will not come to an end, which only the end of the process cures.
    pub async fn stuck(&mut self) {
        if let Some(watchdog) = &mut self.watchdog
            && matches!(watchdog.await, Ok(true))
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Ends in order: no new requests, those under way answered, jobs finished or handed back, the
    /// databases closed. `shutdown` must have been triggered.
    ///
    /// # Errors
    /// When the socket had failed.
    pub async fn stop(self) -> Result<()> {
        self.app.set_ready(false);
        if let Some(serving) = self.serving {
            serving.stop().await?;
        }
        for task in self.tasks {
            task.await?;
        }
        for servant in self.servants {
            servant.abort();
        }
        // Last, so that the end can be watched.
        if let Some(admin) = self.admin {
            admin.stop().await?;
        }
        self.data.close().await;
        // Blocks, but nothing else is left to be done.
        telemetry::spans::finish();
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
    if config.admin.listen.is_empty() {
        return Ok(None);
    }
    let listen = config.admin.listen.parse().context("admin.listen")?;
    let metrics = telemetry::metrics().map_err(anyhow::Error::msg)?;
    telemetry::tell_info(&about.labels());
    let server = ServerConfig { listen, tls: None, drain: ADMIN_DRAIN, ..server_config(config) };
    let router = admin(app.clone(), about, metrics).merge(console);
    let serving = serve(restrict_hosts(router, &config.admin.hosts), &server)
        .context("admin.listen: choose another address, or an empty one for no metrics")?;
    Ok(Some(serving))
}

/// What operators are told of this process; without workers it has no device.
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

/// How long pictures of accepted jobs stay in memory for a worker of this process.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Nobody waits long for metrics.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
