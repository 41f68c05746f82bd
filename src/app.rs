//! Wiring: from the configuration to things that run.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    clients::{ClientRegistry, ClientStore},
    clock::Clock,
    compare::Policy,
    config::{Config, QueueSection},
    db::{Db, PostgresDb, SqliteDb, is_postgres},
    face::{
        Engine, EngineOptions, OnnxEngine, Runtime,
        calibration::{Calibration, CalibrationTable},
        manifest::{Manifest, ResolvedPack},
    },
    http::{
        AppState, Comparison, GatewayConfig, ServerConfig, Serving, TlsFiles, admin, gateway, serve,
    },
    queue::{Gauge, QueueLimits, QueuedComparer, RetryPolicy, Store, Wake},
    sealing::MasterKey,
    shutdown::Shutdown,
    signing::Freshness,
    telemetry,
    worker::{
        ComputePool, EngineFactory, LocalComparer, Maintenance, MaintenanceConfig, Runner,
        RunnerConfig,
    },
};

/// The opened data folder: database, key, and what lies on them.
#[derive(Debug, Clone)]
pub struct Data {
    /// Jobs.
    pub store: Store,
    /// Clients.
    pub clients: ClientStore,
    /// The connections.
    pub db: Db,
}

/// Opens the data folder, making it, its key and its schema where they are missing.
///
/// # Errors
/// When folder, key or database cannot be made or used.
pub async fn open_data(config: &Config) -> Result<Data> {
    let dir = &config.data.dir;
    std::fs::create_dir_all(dir)
        .with_context(|| format!("the data folder {} cannot be made", dir.display()))?;
    let key = MasterKey::load_or_create(&config.data.key_path())?;
    let url = &config.database.url;
    let db: Db = if is_postgres(url) {
        PostgresDb::open(url, config.database.connections).await?.into()
    } else {
        SqliteDb::open(&config.data.database_path(&config.database)).await?.into()
    };
    Ok(Data {
        store: Store::new(db.clone(), key.clone(), Clock::System),
        clients: ClientStore::new(db.clone(), key, Clock::System),
        db,
    })
}

/// What to call the configured database in front of people: a file, or Postgres without its password.
pub fn database_name(config: &Config) -> String {
    if is_postgres(&config.database.url) {
        "Postgres".to_owned()
    } else {
        config.data.database_path(&config.database).display().to_string()
    }
}

/// The engine of the configured pack, ready to be made on any thread, and how it decides.
pub struct Model {
    /// Makes an engine.
    pub factory: EngineFactory,
    /// Decides.
    pub policy: Arc<Policy>,
    /// The pack.
    pub pack: ResolvedPack,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({})", self.pack.name)
    }
}

/// Stands in when the operator insists on a pack without a table; its scores mean nothing.
fn uncalibrated() -> CalibrationTable {
    let knots = vec![(0.25, 1e-2), (0.35, 1e-3), (0.43, 1e-4), (0.51, 1e-5), (0.58, 1e-6)];
    CalibrationTable { id: "uncalibrated".to_owned(), provisional: true, knots }
}

/// Loads ONNX Runtime and the configured pack.
///
/// # Errors
/// When library or pack cannot be used, or the pack has no calibration table and that was not allowed.
pub fn load_model(config: &Config) -> Result<Model> {
    let runtime = Runtime::load(&library(config)?)?;
    let pack = Manifest::load(&model_dir(config))?.resolve(&config.model.pack)?;
    let table = match &pack.calibration {
        Some(table) => table.clone(),
        None if config.model.allow_uncalibrated => uncalibrated(),
        None => bail!(
            "the pack `{}` has no calibration table, so its scores would mean nothing; add [calibration] to \
             its pack.toml, or set model.allow_uncalibrated = true to use it all the same",
            pack.name
        ),
    };
    let calibration = Calibration::new(&table).map_err(|why| anyhow!(why))?;
    let policy =
        Policy::new(calibration, &pack.name, config.compare.fmr).map_err(|why| anyhow!(why))?;
    let options = EngineOptions {
        limits: config.image,
        selfie: config.quality.selfie,
        document: config.quality.document,
    };
    let for_engines = pack.clone();
    let factory: EngineFactory = Arc::new(move || {
        let mut engine = OnnxEngine::open(&runtime, &for_engines, options)?;
        engine.warm_up()?;
        Ok(Box::new(engine) as Box<dyn Engine>)
    });
    Ok(Model { factory, policy: Arc::new(policy), pack })
}

/// Where the packs are: as configured, else `models` beside the program, else in the working folder.
pub fn model_dir(config: &Config) -> PathBuf {
    if config.model.dir.is_empty() {
        beside_program("models")
    } else {
        PathBuf::from(&config.model.dir)
    }
}

/// `name` beside the program if it is there, else in the working folder.
fn beside_program(name: &str) -> PathBuf {
    let program = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    let beside = program.and_then(|p| Some(p.parent()?.join(name))).filter(|p| p.exists());
    beside.unwrap_or_else(|| PathBuf::from(name))
}

/// ONNX Runtime's shared library: as configured, else `ORT_DYLIB_PATH`, else in `runtime`. Always an
/// absolute path: the system's search path would load whatever lies there.
fn library(config: &Config) -> Result<PathBuf> {
    let configured = Some(config.runtime.library.clone()).filter(|path| !path.is_empty());
    let path = match configured
        .or_else(|| std::env::var("ORT_DYLIB_PATH").ok().filter(|p| !p.is_empty()))
    {
        Some(path) => PathBuf::from(path),
        None => newest_library(&beside_program("runtime")),
    };
    std::path::absolute(&path).with_context(|| format!("{} is no path", path.display()))
}

/// The last `libonnxruntime.so*` of a folder by name; the plain name if there is none, so that a
/// message can say what was looked for.
pub fn newest_library(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let is_library = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libonnxruntime.so"))
    };
    files.filter(is_library).max().unwrap_or_else(|| folder.join("libonnxruntime.so"))
}

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
    tasks: Vec<tokio::task::JoinHandle<()>>,
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

/// Starts what the roles say, and housekeeping, on one database.
///
/// # Errors
/// When anything that is needed is missing; nothing is left running then.
pub async fn start(config: &Config, roles: Roles, shutdown: &Shutdown) -> Result<Service> {
    // Postgres is for many processes; their leases end by themselves.
    let alone = !is_postgres(&config.database.url);
    if alone && !(roles.front_end && roles.workers) {
        bail!(
            "front end and workers can be apart only on Postgres: set database.url (VISAVIS_DATABASE_URL), or run \
             `visavis serve` with workers"
        );
    }
    let lock = alone.then(|| lock(&config.data.dir)).transpose()?;
    let data = open_data(config).await?;
    if alone {
        let recovered = data.store.recover().await?;
        if recovered > 0 {
            tracing::info!(recovered, "jobs of an earlier run are taken up again");
        }
    }
    let pool = if roles.workers { Some(start_pool(config).await?) } else { None };
    let (gauge, wake) = (Gauge::default(), Wake::default());
    let clients = Arc::new(ClientRegistry::open(data.clients.clone()).await?);
    let comparison = match &pool {
        Some(pool) => {
            Comparison::Local(Arc::new(LocalComparer::new(pool.clone(), config.worker.waiting)))
        }
        None => Comparison::Queued(QueuedComparer::new(data.store.clone(), wake.clone())),
    };
    let app = AppState::new(
        clients,
        data.store.clone(),
        comparison,
        Clock::System,
        gateway_config(config),
        (gauge.clone(), wake.clone()),
    );
    let serving = if roles.front_end {
        Some(serve(gateway(app.clone()), &server_config(config))?)
    } else {
        None
    };
    let admin = admin_server(config, &app)?;

    let maintenance =
        Maintenance::new(data.store.clone(), gauge, maintenance_config(&config.queue));
    let mut tasks = vec![tokio::spawn(maintenance.run(shutdown.clone()))];
    if let Some(pool) = pool {
        let here = Arc::clone(wake.here());
        let runner = Runner::new(data.store.clone(), pool, runner_config(config), here);
        tasks.push(tokio::spawn(runner.run(shutdown.clone())));
    }
    if let Db::Postgres(db) = &data.db {
        tasks.push(tokio::spawn(wake.clone().announce(db.clone(), shutdown.clone())));
        if roles.workers {
            tasks.push(tokio::spawn(wake.listen(db.clone(), shutdown.clone())));
        }
    }
    app.set_ready(true);
    Ok(Service { serving, admin, app, data, tasks, _lock: lock })
}

/// Compute threads, each with the configured pack loaded and warm.
async fn start_pool(config: &Config) -> Result<ComputePool> {
    let threads = match config.worker.threads {
        0 => std::thread::available_parallelism()?.get(),
        n => n,
    };
    let model = load_model(config)?;
    let (factory, policy) = (Arc::clone(&model.factory), Arc::clone(&model.policy));
    let pool = tokio::task::spawn_blocking(move || ComputePool::start(threads, &factory, &policy));
    let pool = pool.await??;
    tracing::info!(pack = model.pack.name, threads, "engines are warm");
    Ok(pool)
}

impl Service {
    /// Ends in order: no new requests, those under way answered, jobs finished or handed back, the
    /// database closed. `shutdown` must have been triggered.
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
        // Last, so that the end can be watched.
        if let Some(admin) = self.admin {
            admin.stop().await?;
        }
        self.data.db.close().await;
        Ok(())
    }
}

/// One process serves a data folder. The lock goes with the process, however it ends.
fn lock(dir: &Path) -> Result<std::fs::File> {
    std::fs::create_dir_all(dir)
        .with_context(|| format!("the data folder {} cannot be made", dir.display()))?;
    let path = dir.join("serve.lock");
    let file = std::fs::File::create(&path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!(
            "another process serves the data folder {}: SQLite is for one process; stop it, or use another \
             folder",
            dir.display()
        ),
    }
}

fn gateway_config(config: &Config) -> GatewayConfig {
    let http = &config.http;
    GatewayConfig {
        body_limit: http.body_limit_bytes,
        body_budget: http.body_budget_bytes,
        body_deadline: Duration::from_millis(http.body_deadline_ms),
        patience: Duration::from_millis(http.patience_ms),
        freshness: Freshness::seconds(http.freshness_s),
        decrypt_failures: http.decrypt_failures_per_minute,
        dedupe: config.queue.dedupe,
        pictures: config.image,
        queue: QueueLimits { jobs: config.queue.max_jobs, bytes: config.queue.max_bytes },
        shard: 0,
    }
}

/// Certificate and key as configured; `None` for plain HTTP.
pub fn tls_files(config: &Config) -> Option<TlsFiles> {
    let tls = &config.tls;
    (!tls.cert_file.is_empty()).then(|| TlsFiles {
        certificate: PathBuf::from(&tls.cert_file),
        key: PathBuf::from(&tls.key_file),
        reload: Duration::from_millis(tls.reload_ms),
    })
}

fn server_config(config: &Config) -> ServerConfig {
    let http = &config.http;
    ServerConfig {
        listen: http.listen,
        tls: tls_files(config),
        head_deadline: Duration::from_millis(http.head_deadline_ms),
        idle_deadline: Duration::from_millis(http.idle_deadline_ms),
        max_connections: http.max_connections,
        max_streams: http.max_streams,
        drain: Duration::from_millis(http.drain_ms),
    }
}

/// Starts the server for operators, if one is configured.
fn admin_server(config: &Config, app: &AppState) -> Result<Option<Serving>> {
    if config.admin.listen.is_empty() {
        return Ok(None);
    }
    let listen = config.admin.listen.parse().context("admin.listen")?;
    let metrics = telemetry::metrics().map_err(anyhow::Error::msg)?;
    let server = ServerConfig { listen, tls: None, drain: ADMIN_DRAIN, ..server_config(config) };
    let serving = serve(admin(app.clone(), metrics), &server)
        .context("admin.listen: choose another address, or an empty one for no metrics")?;
    Ok(Some(serving))
}

/// Nobody waits long for metrics.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

fn runner_config(config: &Config) -> RunnerConfig {
    let (queue, worker) = (&config.queue, &config.worker);
    RunnerConfig {
        lease: Duration::from_millis(queue.lease_ms),
        job_deadline: Duration::from_millis(queue.job_deadline_ms),
        poll: Duration::from_millis(worker.poll_ms),
        drain: Duration::from_millis(worker.drain_ms),
        retry: RetryPolicy { max_attempts: queue.max_attempts, ..RetryPolicy::default() },
    }
}

fn maintenance_config(queue: &QueueSection) -> MaintenanceConfig {
    MaintenanceConfig {
        retention: Duration::from_secs(queue.retention_s),
        every: Duration::from_mins(1),
    }
}
