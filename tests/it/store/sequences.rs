//! Random sequences of operations, on the store and on the model side by side.

use std::time::Duration;

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use visavis::{
    compare::TransactionId,
    queue::{JobId, TransactionState},
};

use super::{
    bench::{Bench, CLIENT, Database, is_lost, new_job_of, pictures, refused},
    model::{Model, ModelJob, Phase},
    postgres::Postgres,
    sqlite::Sqlite,
};

const CLIENTS: [&str; 3] = [CLIENT, "2188000000000002", "2188000000000003"];

/// Times are seconds; an `Index` picks one of the leases that were ever given, outdated or not.
#[derive(Debug, Clone)]
enum Step {
    Enqueue(usize, Option<u8>, u8),
    Record(Option<u8>),
    Claim(u32, u64),
    Complete(Index),
    Retry(Index, u64),
    HandBack(Index),
    Bury(Index),
    Renew(Vec<Index>, u64),
    Open(Index),
    Advance(u64),
    Recover,
    Purge(u64, u32),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let digest = || proptest::option::of(0..4_u8);
    let lease = any::<Index>;
    prop_oneof![
        8 => (0..CLIENTS.len(), digest(), any::<u8>())
            .prop_map(|(client, digest, size)| Step::Enqueue(client, digest, size)),
        2 => digest().prop_map(Step::Record),
        8 => (0..4_u32, 1..40_u64).prop_map(|(limit, length)| Step::Claim(limit, length)),
        6 => lease().prop_map(Step::Complete),
        4 => (lease(), 0..20_u64).prop_map(|(lease, wait)| Step::Retry(lease, wait)),
        2 => lease().prop_map(Step::HandBack),
        3 => lease().prop_map(Step::Bury),
        3 => (prop::collection::vec(lease(), 0..4), 1..40_u64)
            .prop_map(|(leases, length)| Step::Renew(leases, length)),
        2 => lease().prop_map(Step::Open),
        6 => (0..30_u64).prop_map(Step::Advance),
        1 => Just(Step::Recover),
        2 => (0..60_u64, 0..4_u32).prop_map(|(age, limit)| Step::Purge(age, limit)),
    ]
}

/// A sequence, and where in it the process is restarted, if anywhere.
fn sequence() -> impl Strategy<Value = Vec<Step>> {
    (prop::collection::vec(step(), 20..60), proptest::option::weighted(0.1, any::<Index>()))
        .prop_map(|(mut steps, restart)| {
            if let Some(at) = restart {
                steps.insert(at.index(steps.len()), Step::Restart);
            }
            steps
        })
}

type Given = (TransactionId, JobId, i64);

struct Pair {
    bench: Bench,
    model: Model,
    given: Vec<Given>,
}

impl Pair {
    fn pick(&self, lease: Index) -> Option<Given> {
        (!self.given.is_empty()).then(|| lease.get(&self.given).clone())
    }

    fn length(seconds: u64) -> (Duration, i64) {
        (Duration::from_secs(seconds), i64::try_from(seconds).unwrap() * 1_000)
    }

    async fn store(&mut self, client: &'static str, digest: Option<u8>, size: u8, phase: Phase) {
        let (id, bytes) = (self.bench.new_id(), usize::from(size));
        let request = pictures(vec![size; bytes + 1], vec![size; bytes]);
        let new = new_job_of(client, &id, &request, digest);
        let accepted = match phase {
            Phase::Queued => self.bench.store.enqueue(&new).await.unwrap(),
            _ => self.bench.store.record(&new, &refused()).await.unwrap(),
        };
        assert_eq!(accepted, self.model.store(client, id, digest, 2 * u64::from(size) + 1, phase));
    }

    async fn claim(&mut self, limit: u32, seconds: u64) {
        let (length, millis) = Self::length(seconds);
        let leases = self.bench.store.claim(limit, "pair", length).await.unwrap();
        let expected = self.model.claim(limit as usize, millis);
        let seen: Vec<_> =
            leases.iter().map(|l| (&l.job.transaction_id, l.token, l.job.attempt)).collect();
        let wanted: Vec<_> = expected.iter().map(|j| (&j.id, j.token, j.attempt)).collect();
        assert_eq!(seen, wanted);
        self.given.extend(
            leases.into_iter().map(|lease| (lease.job.transaction_id, lease.job.id, lease.token)),
        );
    }

    async fn renew(&mut self, leases: &[Index], seconds: u64) {
        let (length, millis) = Self::length(seconds);
        let mut picked: Vec<_> = leases.iter().filter_map(|lease| self.pick(*lease)).collect();
        picked.sort_by_key(|(_, job, token)| (*job, *token));
        picked.dedup();
        let held: Vec<_> = picked.iter().map(|(_, job, token)| (*job, *token)).collect();
        let mut kept = self.bench.store.renew(&held, length).await.unwrap();
        kept.sort_unstable();
        picked.retain(|(id, _, token)| self.model.renew(id, *token, millis));
        assert_eq!(kept, picked.iter().map(|(_, job, _)| *job).collect::<Vec<_>>());
    }

    async fn purge(&mut self, seconds: u64, limit: u32) {
        let (age, millis) = Self::length(seconds);
        let purged = self.bench.store.purge(age, limit).await.unwrap();
        assert_eq!(purged, self.model.purgeable(millis, limit as usize) as u64);
        let mut gone = Vec::new();
        for job in &self.model.jobs {
            if self.state(job).await.is_none() {
                gone.push(job.id.clone());
            }
        }
        assert_eq!(purged, gone.len() as u64);
        self.model.purge(millis, &gone);
    }

    /// Where a job stands for the client that it belongs to; no one else sees it.
    async fn state(&self, job: &ModelJob) -> Option<TransactionState> {
        let mut found = Vec::new();
        for client in CLIENTS {
            let reported = self.bench.store.transaction(client, &job.id).await.unwrap();
            found.extend(reported.map(|reported| (client, reported.state)));
        }
        assert!(found.iter().all(|(client, _)| *client == job.client));
        found.pop().map(|(_, state)| state)
    }

    /// Pictures can be opened exactly as long as the job has not ended.
    async fn open(&self, lease: &Given) {
        let open =
            "SELECT count(*) FROM job JOIN job_payload ON job_id = job.id WHERE state IN (0, 1)";
        assert_eq!(self.bench.payload_rows().await, self.bench.database.number(open).await);
        if let Some(job) = self.model.get(&lease.0) {
            assert_eq!(self.state(job).await, Some(shown(job.phase)));
        }
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Enqueue(client, digest, size) => {
                self.store(CLIENTS[*client], *digest, *size, Phase::Queued).await;
            }
            Step::Record(digest) => self.store(CLIENT, *digest, 0, Phase::Done).await,
            Step::Claim(limit, seconds) => self.claim(*limit, *seconds).await,
            Step::Renew(leases, seconds) => self.renew(leases, *seconds).await,
            Step::Purge(seconds, limit) => self.purge(*seconds, *limit).await,
            Step::Advance(seconds) => {
                let (length, millis) = Self::length(*seconds);
                self.bench.advance(length);
                self.model.now += millis;
            }
            Step::Recover => {
                assert_eq!(self.bench.store.recover().await.unwrap(), self.model.recover());
            }
            Step::Restart => self.bench.restart().await,
            Step::Complete(lease)
            | Step::Retry(lease, _)
            | Step::HandBack(lease)
            | Step::Bury(lease)
            | Step::Open(lease) => {
                if let Some(lease) = self.pick(*lease) {
                    self.write(step, &lease).await;
                }
            }
        }
    }

    async fn write(&mut self, step: &Step, lease: &Given) {
        let (id, job, token) = lease;
        let store = &self.bench.store;
        let (written, holds) = match step {
            Step::Complete(_) => (
                store.complete(*job, *token, &refused()).await,
                self.model.finish(id, *token, Phase::Done),
            ),
            Step::Bury(_) => {
                (store.bury(*job, *token).await, self.model.finish(id, *token, Phase::Dead))
            }
            Step::HandBack(_) => (
                store.postpone(*job, *token, Duration::ZERO).await,
                self.model.put_back(id, *token, 0, 1),
            ),
            Step::Retry(_, seconds) => {
                let (wait, millis) = Self::length(*seconds);
                let written = store.retry(*job, *token, wait).await;
                (written, self.model.put_back(id, *token, millis, 0))
            }
            _ => return self.open(lease).await,
        };
        assert_eq!(is_lost(written), !holds, "{step:?} of {lease:?}");
    }

    /// Takes all steps, comparing on the way and at the end.
    async fn play(&mut self, steps: &[Step]) {
        self.bench.database.tamper("DELETE FROM job").await;
        self.model = Model { jobs: Vec::new(), now: self.bench.time.now() };
        self.given.clear();
        for step in steps {
            self.take(step).await;
            assert_eq!(self.bench.store.depth().await.unwrap(), self.model.depth(), "{step:?}");
        }
        for job in &self.model.jobs {
            assert_eq!(self.state(job).await, Some(shown(job.phase)));
        }
        for digest in 0..4 {
            let found = self.bench.store.find_duplicate(&[digest; 32]).await.unwrap();
            assert_eq!(found, self.model.find_digest(digest));
        }
        self.bench.check_pictures().await;
    }
}

fn shown(phase: Phase) -> TransactionState {
    match phase {
        Phase::Queued | Phase::Running => TransactionState::Processing,
        Phase::Done => TransactionState::Done(Box::new(refused())),
        Phase::Dead => TransactionState::Dead,
    }
}

fn behaves_like_the_model(cases: u32, database: impl Future<Output = Box<dyn Database>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pair = runtime.block_on(async {
        let bench = Bench::new(database.await).await;
        Pair { bench, model: Model::default(), given: Vec::new() }
    });
    let pair = std::cell::RefCell::new(pair);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let played = TestRunner::new(config).run(&sequence(), |steps| {
        runtime.block_on(pair.borrow_mut().play(&steps));
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

#[test]
fn sqlite_behaves_like_the_model() {
    behaves_like_the_model(300, async { Box::new(Sqlite::careless().await) as Box<dyn Database> });
}

#[test]
fn postgres_behaves_like_the_model() {
    behaves_like_the_model(150, async { Box::new(Postgres::fresh().await) as Box<dyn Database> });
}
