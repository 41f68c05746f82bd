//! The bench that the cases work on.

use std::{pin::Pin, time::Duration};

use visavis::{
    clock::{Clock, MockClock},
    compare::{BizId, Outcome, PictureData, Refusal, Request, RequestOptions, Side, TransactionId},
    queue::{Accepted, Lease, NewJob, PayloadCache, QueueError, Store, TransactionState},
    sealing::MasterKey,
};

/// A future that a [`Database`] returns.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A database of its own for one test.
pub trait Database: Send + Sync {
    /// A store over connections of its own, as another process would have.
    fn connect(&self, key: MasterKey, clock: Clock) -> Later<'_, Store>;

    /// Closes every connection, as a process that ends in order does.
    fn disconnect(&self) -> Later<'_, ()>;

    /// Goes on with what is on the disk at this instant: no one closed anything.
    fn crash(&mut self) -> Later<'_, ()>;

    /// A number, read behind the store's back over a connection of its own.
    fn number(&self, sql: &'static str) -> Later<'_, i64>;

    /// Changes rows behind the store's back.
    fn tamper(&self, sql: &'static str) -> Later<'_, ()>;

    /// Every byte of it on the disk.
    fn at_rest(&self) -> Later<'_, Vec<u8>>;
}

/// 2026-01-01T00:00:00Z
pub const NOW: i64 = 1_767_225_600_000;
/// How long a claim of [`Bench::claim`] is valid.
pub const LEASE: Duration = Duration::from_secs(30);
/// Whose the jobs of [`Bench::enqueue`] are.
pub const CLIENT: &str = "2188000000000001";

/// A store on a fresh database, and the hands of its clock.
pub struct Bench {
    pub store: Store,
    pub clock: MockClock,
    pub database: Box<dyn Database>,
    pub time: Clock,
    key: MasterKey,
}

impl Bench {
    pub async fn new(database: Box<dyn Database>) -> Self {
        let (time, clock) = Clock::mock(NOW);
        let key = MasterKey::random().unwrap();
        // As a process has it that stores jobs and works on them.
        let cache = PayloadCache::new(1 << 20, Duration::from_mins(1));
        let store = database.connect(key.clone(), time.clone()).await.with_payload_cache(cache);
        Self { store, clock, database, time, key }
    }

    /// Runs a case, and then checks what no case may break.
    pub async fn run(database: Box<dyn Database>, case: impl AsyncFnOnce(&mut Self)) {
        let mut bench = Self::new(database).await;
        case(&mut bench).await;
        bench.check_pictures().await;
    }

    /// Pictures are there exactly as long as someone may still need them.
    pub async fn check_pictures(&self) {
        let kept = "SELECT count(*) FROM job_payload WHERE job_id NOT IN (SELECT id FROM job WHERE \
                    state IN (0, 1))";
        assert_eq!(self.database.number(kept).await, 0, "pictures outlived their job");
        let lost = "SELECT count(*) FROM job WHERE state IN (0, 1) AND id NOT IN (SELECT job_id \
                    FROM job_payload)";
        assert_eq!(self.database.number(lost).await, 0, "jobs lost their pictures");
        let (rows, open) = (self.payload_rows().await, self.store.depth().await);
        assert_eq!(rows.unsigned_abs(), open.unwrap().jobs);
    }

    /// Pairs of photos in the database.
    pub async fn payload_rows(&self) -> i64 {
        self.database.number("SELECT count(*) FROM job_payload").await
    }

    /// A second process on the same database.
    pub async fn neighbour(&self) -> Store {
        self.database.connect(self.key.clone(), self.time.clone()).await
    }

    /// The photos of a job as the database has them: read by a process that did not accept it.
    pub async fn read(&self, lease: &Lease) -> Result<Option<Request>, QueueError> {
        self.neighbour().await.payload(lease).await
    }

    /// A process that has another master key.
    pub async fn outsider(&self) -> Store {
        self.database.connect(MasterKey::random().unwrap(), self.time.clone()).await
    }

    /// The process ends in order, and another one begins.
    pub async fn restart(&mut self) {
        self.database.disconnect().await;
        self.store = self.neighbour().await;
    }

    /// The process is killed, and another one begins.
    pub async fn crash(&mut self) {
        self.database.crash().await;
        self.store = self.neighbour().await;
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(i64::try_from(by.as_millis()).unwrap());
    }

    pub fn new_id(&self) -> TransactionId {
        TransactionId::new(self.time.now_utc(), 0)
    }

    /// Stores a transaction of [`CLIENT`] that no other one is a repetition of.
    pub async fn enqueue(&self) -> TransactionId {
        self.enqueue_this(&request(1)).await
    }

    /// The same `count` times, in this order and at the same instant.
    pub async fn enqueue_many(&self, count: usize) -> Vec<TransactionId> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.enqueue().await);
        }
        ids
    }

    pub async fn enqueue_this(&self, request: &Request) -> TransactionId {
        let id = self.new_id();
        let new = new_job(&id, request, None);
        assert_eq!(self.store.enqueue(&new).await.unwrap(), Accepted::New(id.clone()));
        id
    }

    /// Stores with a digest.
    pub async fn enqueue_signed(&self, digest: u8) -> Accepted {
        let (id, request) = (self.new_id(), request(digest));
        self.store.enqueue(&new_job(&id, &request, Some(digest))).await.unwrap()
    }

    /// Claims at most `limit` jobs for [`LEASE`].
    pub async fn claim(&self, limit: u32) -> Vec<Lease> {
        self.store.claim(limit, "bench", LEASE).await.unwrap()
    }

    /// Takes the one job that is due.
    pub async fn claim_one(&self) -> Lease {
        let [lease] = self.claim(2).await.try_into().unwrap();
        lease
    }

    /// A job that is running.
    pub async fn running(&self) -> (TransactionId, Lease) {
        (self.enqueue().await, self.claim_one().await)
    }

    /// A job whose first lease ran out and that someone else holds now: id, outdated lease, lease.
    pub async fn taken_over(&self) -> (TransactionId, Lease, Lease) {
        let (id, stale) = self.running().await;
        self.advance(LEASE);
        (id, stale, self.claim_one().await)
    }

    pub async fn complete(&self, lease: &Lease) -> Result<(), QueueError> {
        self.store.complete(lease.job.id, lease.token, &refused()).await
    }

    pub async fn bury(&self, lease: &Lease) -> Result<(), QueueError> {
        self.store.bury(lease.job.id, lease.token).await
    }

    pub async fn hand_back(&self, lease: &Lease) -> Result<(), QueueError> {
        self.store.postpone(lease.job.id, lease.token, Duration::ZERO).await
    }

    pub async fn retry(&self, lease: &Lease, seconds: u64) -> Result<(), QueueError> {
        self.store.retry(lease.job.id, lease.token, Duration::from_secs(seconds)).await
    }

    /// Whether the lease was still good for another [`LEASE`].
    pub async fn renew(&self, lease: &Lease) -> bool {
        let kept = self.store.renew(&[(lease.job.id, lease.token)], LEASE).await.unwrap();
        kept == [lease.job.id]
    }

    /// Where a transaction of [`CLIENT`] stands.
    pub async fn state(&self, id: &TransactionId) -> Option<TransactionState> {
        Some(self.store.transaction(CLIENT, id).await.unwrap()?.state)
    }
}

/// A pair of photos that differ from one another and from those of every other `n`.
pub fn request(n: u8) -> Request {
    pictures(format!("the probe of {n}").into_bytes(), format!("the reference of {n}").into_bytes())
}

pub fn pictures(probe: Vec<u8>, reference: Vec<u8>) -> Request {
    Request {
        biz_id: BizId::new("biz-1").unwrap(),
        probe: PictureData::stored(probe.into()),
        reference: PictureData::stored(reference.into()),
        options: RequestOptions::default(),
    }
}

/// A transaction of [`CLIENT`].
pub fn new_job<'a>(id: &TransactionId, request: &'a Request, digest: Option<u8>) -> NewJob<'a> {
    new_job_of(CLIENT, id, request, digest)
}

/// A transaction of another client.
pub fn new_job_of<'a>(
    client_id: &'a str,
    id: &TransactionId,
    request: &'a Request,
    digest: Option<u8>,
) -> NewJob<'a> {
    let transaction_id = id.clone();
    NewJob { transaction_id, client_id, dedupe: digest.map(|n| [n; 32]), request }
}

/// The plainest outcome.
pub fn refused() -> Outcome {
    Outcome::Refused { side: Side::Probe, refusal: Refusal::NoFace }
}

/// [`refused`], as a transaction shows it.
pub fn done() -> TransactionState {
    TransactionState::Done(Box::new(refused()))
}

/// Whether a write was turned away because someone else holds the job, or no one does.
pub fn is_lost(written: Result<(), QueueError>) -> bool {
    written.is_err_and(|error| matches!(error, QueueError::LeaseLost))
}

/// The transactions of some leases, in their order.
pub fn ids(leases: &[Lease]) -> Vec<TransactionId> {
    leases.iter().map(|lease| lease.job.transaction_id.clone()).collect()
}
