//! What the measurements share: jobs with pictures of 200 kB, and a worker whose engine does
//! nothing.

use std::{sync::Arc, time::Duration};

use visavis::{
    clock::Clock,
    compare::{BizId, Fmr, PictureData, Policy, Request, RequestOptions, TransactionId},
    db::{PostgresDb, SqliteDb},
    queue::{NewJob, Store, Wake},
    sealing::MasterKey,
    shutdown::{Shutdown, ShutdownTrigger},
    worker::{ComputePool, EngineFactory, Runner, RunnerConfig},
};
use visavis_face::{
    Comparison, Engine, FaceError, Picture, Refusal, Side,
    calibration::{Calibration, CalibrationTable, Population},
};

/// Bytes of a picture.
pub(crate) const PICTURE: usize = 200_000;
/// Tasks that store jobs, and threads that work on them.
pub(crate) const PRODUCERS: usize = 8;
pub(crate) const WORKERS: usize = 8;
/// Connections, for the store and for the hand-written SQL.
pub(crate) const CONNECTIONS: u32 = 16;

/// Bytes that do not compress, as those of a photo.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    noise
}

/// Calls back with the number of the job that it is to work on, and does nothing more.
struct Idle(Arc<dyn Fn(u64) + Send + Sync>);

impl Engine for Idle {
    fn compare(&mut self, probe: &Picture<'_>, _: &Picture<'_>) -> Result<Comparison, FaceError> {
        (self.0)(u64::from_le_bytes(probe.bytes[..8].try_into().unwrap()));
        Ok(Comparison::Refused { side: Side::Probe, refusal: Refusal::NoFace })
    }
}

pub(crate) fn pool(threads: usize, begun: Arc<dyn Fn(u64) + Send + Sync>) -> ComputePool {
    let knots = vec![(0.25, 1e-2), (0.35, 1e-3), (0.43, 1e-4), (0.51, 1e-5), (0.58, 1e-6)];
    let table = CalibrationTable { id: "bench".to_owned(), knots, ..Default::default() };
    let policy = Policy::new(
        Calibration::new(&table, Population::Mixed).unwrap(),
        "none",
        Fmr::new(1e-5).unwrap(),
    );
    let factory: EngineFactory = Arc::new(move || Ok(Box::new(Idle(Arc::clone(&begun)))));
    ComputePool::start(threads, &factory, &Arc::new(policy)).unwrap()
}

/// Pictures whose first bytes are the number of the job.
#[derive(Debug, Clone)]
pub(crate) struct Pictures(Vec<u8>);

impl Pictures {
    pub(crate) fn of(bytes: usize) -> Self {
        Self(noise(bytes))
    }

    pub(crate) fn request(&self, number: u64) -> Request {
        let mut probe = self.0.clone();
        probe[..8].copy_from_slice(&number.to_le_bytes());
        Request {
            biz_id: BizId::new("bench").unwrap(),
            probe: PictureData::stored(probe.into()),
            reference: PictureData::stored(self.0.clone().into()),
            options: RequestOptions::default(),
        }
    }
}

/// A store with the workers of one process on it, wired as `visavis serve` does.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) wake: Wake,
    postgres: Option<PostgresDb>,
    trigger: ShutdownTrigger,
    shutdown: Shutdown,
}

impl Site {
    pub(crate) async fn on_postgres(url: &str, key: MasterKey, connections: u32) -> Self {
        let db = PostgresDb::open(url, connections).await.unwrap();
        let store = Store::new(db.clone(), key, Clock::System);
        let site = Self { postgres: Some(db.clone()), ..Self::of(store) };
        tokio::spawn(site.wake.clone().announce(db, site.shutdown.clone()));
        site
    }

    pub(crate) async fn on_sqlite(path: &std::path::Path) -> Self {
        let db = SqliteDb::open(path).await.unwrap();
        Self::of(Store::new(db, MasterKey::random().unwrap(), Clock::System))
    }

    fn of(store: Store) -> Self {
        let (trigger, shutdown) = Shutdown::new();
        Self { store, wake: Wake::default(), postgres: None, trigger, shutdown }
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Starts workers in this process.
    pub(crate) fn work(&self, threads: usize, begun: Arc<dyn Fn(u64) + Send + Sync>) {
        let here = Arc::clone(self.wake.here());
        let pool = pool(threads, begun);
        let runner = Runner::new(self.store.clone(), pool, RunnerConfig::default(), here);
        tokio::spawn(runner.clone().heartbeat());
        tokio::spawn(runner.run(self.shutdown.clone()));
        if let Some(db) = &self.postgres {
            tokio::spawn(self.wake.clone().listen(db.clone(), self.shutdown.clone()));
        }
    }

    pub(crate) async fn enqueue(&self, request: &Request) {
        let mut digest = [0; 32];
        aws_lc_rs::rand::fill(&mut digest).unwrap();
        let job = NewJob {
            transaction_id: TransactionId::new(Clock::System.now_utc(), 0),
            client_id: "bench",
            dedupe: Some(digest),
            request,
        };
        self.store.enqueue(&job).await.unwrap();
        self.wake.job_arrived();
    }

    /// Returns when every job is at its end.
    pub(crate) async fn finished(&self) {
        while self.store.depth().await.unwrap().jobs > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn stop(&self) {
        self.trigger.stop();
    }
}
