//! Every statement of the program is run here, with its values, on each database that it is for: a
//! mistake in one does not wait for the day on which someone needs it.
//!
//! What is run is heard from the spans of the statements; what has to be run is read from the
//! source. So a new statement fails this test until it is run here.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;
use time::OffsetDateTime;
use tracing::{
    Dispatch, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};
use visavis::{
    accounts::{
        AccountError, AccountStore, NewUser, Owner, PasswordHash, Person, Role, UserChange,
    },
    clients::{
        ActOutcome, AuditFilter, ClientChange, ClientStore, Clients, FmrChange, NewClient, NewKeys,
        Proof,
    },
    clock::{Clock, MockClock},
    compare::{BizId, ClientFmr, Fmr, Place, TransactionId},
    db::{Db, PostgresDb, SqliteDb},
    queue::{Accepted, Erasure, QueueError, Store, Wake},
    sealing::MasterKey,
    shutdown::Shutdown,
};
use visavis_signing::{ClientKey, ServerKey};

use crate::{
    store::bench::{CLIENT, LEASE, NOW, new_job, pictures, refused, request},
    support::{cluster, merchant, server_key},
};

/// Statements of `SQLite` alone: its pragmas, and the two that one statement of Postgres does.
const ONLY_SQLITE: [&str; 7] = [
    "checkpoint",
    "client_checkpoint",
    "enqueue_job",
    "enqueue_pictures",
    "erase_vacuum_sqlite",
    "free_pages",
    "purge_vacuum",
];
/// Statements of Postgres alone: what it knows of itself, what tells other processes something,
/// what only a lost connection asks for, and the one that does what two of `SQLite` do.
const ONLY_POSTGRES: [&str; 13] = [
    "client_vacuum",
    "clock",
    "enqueue",
    "erase_left",
    "erase_vacuum_postgres",
    "is_left",
    "notify",
    "session_timeout",
    "shard_claim",
    "shard_number",
    "vacuum_check",
    "vacuum_lock",
    "vacuum_payloads",
];

/// The names of the statements that this thread has run.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<BTreeSet<String>>>);

impl Heard {
    fn names(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name of a span, as long as no other one is inside it: what has others inside it is no
/// statement but a transaction.
struct Name(String);

struct Reading(Option<String>);

impl Visit for Reading {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "statement" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "db.statement" {
            return;
        }
        if let Some(outer) = context.lookup_current() {
            outer.extensions_mut().remove::<Name>();
        }
        let mut reading = Reading(None);
        attributes.record(&mut reading);
        context.span(id).unwrap().extensions_mut().insert(Name(reading.0.unwrap()));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(Name(name)) = context.span(&id).unwrap().extensions_mut().remove() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
    }
}

/// The names of all statements in the source; each is a literal and stands once.
fn in_source(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_source(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for method in [".read(", ".write(", ".write_once(", ".statement(", ".end("] {
            for (at, _) in text.match_indices(method) {
                let Some(rest) = text[at + method.len()..].trim_start().strip_prefix('"') else {
                    continue;
                };
                let name = rest.split('"').next().unwrap().to_owned();
                assert!(
                    found.insert(name),
                    "{}: two statements have one name: {rest:.60}",
                    path.display()
                );
            }
        }
    }
}

fn all_names() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for module in ["accounts", "clients", "db", "queue"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
        in_source(&folder, &mut found);
    }
    found
}

fn without(names: &BTreeSet<String>, others: &[&str]) -> BTreeSet<String> {
    let others = others.iter().map(|name| (*name).to_owned()).collect();
    assert!(names.is_superset(&others), "{:?}", others.difference(names));
    names.difference(&others).cloned().collect()
}

/// Runs `call` and returns the names of the statements that it ran.
async fn heard(call: impl AsyncFnOnce(&Heard)) -> BTreeSet<String> {
    let heard = Heard::default();
    let log = tracing_subscriber::registry().with(heard.clone());
    let _log = tracing::subscriber::set_default(log);
    // As in the tests of the log: with one subscriber alone other threads would decide what it
    // hears.
    let _second = Dispatch::new(tracing_subscriber::registry());
    call(&heard).await;
    let mut names = heard.names();
    // A transaction with nothing inside it: whether `SQLite` can be written.
    names.remove("begin");
    names
}

struct Everything {
    db: Db,
    key: MasterKey,
    clock: Clock,
    hands: MockClock,
}

impl Everything {
    fn new(db: impl Into<Db>) -> Self {
        let (clock, hands) = Clock::mock(NOW);
        Self { db: db.into(), key: MasterKey::random().unwrap(), clock, hands }
    }

    fn store(&self) -> Store {
        Store::new(self.db.clone(), self.key.clone(), self.clock.clone())
    }

    /// A job that is running: number and token.
    async fn running(&self, store: &Store) -> (i64, i64) {
        let id = TransactionId::new(self.clock.now_utc(), 0);
        // Large enough to leave pages behind.
        let request = pictures(vec![1; 100_000], vec![2; 100_000]);
        store.enqueue(&new_job(&id, &request, None)).await.unwrap();
        let [lease] = store.claim(1, "worker", LEASE).await.unwrap().try_into().unwrap();
        (lease.job.id, lease.token)
    }

    async fn run_jobs(&self) {
        let (store, request) = (self.store(), request(1));
        store.ping().await.unwrap();
        let id = TransactionId::new(self.clock.now_utc(), 0);
        store.enqueue(&new_job(&id, &request, Some(1))).await.unwrap();
        let again = TransactionId::new(self.clock.now_utc(), 0);
        let stored = store.enqueue(&new_job(&again, &request, Some(1))).await.unwrap();
        assert_eq!(stored, Accepted::Duplicate(id.clone()));
        assert_eq!(store.find_duplicate(&[1; 32]).await.unwrap(), Some(id.clone()));
        store.record(&new_job(&again, &request, Some(2)), &refused()).await.unwrap();
        let [lease] = store.claim(1, "worker", LEASE).await.unwrap().try_into().unwrap();
        assert_eq!(store.payload(&lease).await.unwrap(), Some(request));
        let held = [(lease.job.id, lease.token), (-1, 0)];
        assert_eq!(store.renew(&held, LEASE).await.unwrap(), [lease.job.id]);
        assert_eq!(store.reseal(false).await.unwrap(), 1);
        store.complete(lease.job.id, lease.token, &refused()).await.unwrap();
        let (job, token) = self.running(&store).await;
        store.postpone(job, token, LEASE).await.unwrap();
        let (job, token) = self.running(&store).await;
        store.bury(job, token).await.unwrap();
        let (job, token) = self.running(&store).await;
        store.retry(job, token, LEASE).await.unwrap();
        self.running(&store).await;
        assert_eq!(store.recover().await.unwrap(), 1);
        assert!(store.transaction(CLIENT, &id).await.unwrap().is_some());
        assert_eq!(store.ended(&[id.clone(), again.clone()]).await.unwrap().len(), 2);
        assert!(store.has(CLIENT, &again).await.unwrap());
        store.delete(CLIENT, &again).await.unwrap();
        assert!(!store.has(CLIENT, &again).await.unwrap());
        assert_eq!(store.history(&id).await.unwrap().unwrap().attempts, 1);
        let (start, end) = (Place::start_of(OffsetDateTime::UNIX_EPOCH), Place::end());
        for biz_id in [None, BizId::new("biz-1")] {
            let listed = store.list(0, &start..&end, biz_id.as_ref()).await.unwrap();
            assert!(listed.iter().any(|(listed, _)| *listed == id));
        }
        let depth = store.depth_by_client().await.unwrap();
        assert_eq!((depth.len(), depth[0].depth.jobs), (1, 3));
        assert!(store.disk_usage().await.unwrap()[0].1 > 0.0);
        self.hands.step(-3_600_000);
        assert_eq!(store.watch_clock().await.unwrap(), 0);
        self.hands.step(3_600_000);
        self.hands.advance(1);
        assert_eq!(store.purge(Duration::ZERO, 1).await.unwrap(), 1);
        let all = Erasure::new(None, None, Some(CLIENT.to_owned())).unwrap();
        assert_eq!(store.would_erase(&all).await.unwrap(), 4);
        assert_eq!(store.erase(&all).await.unwrap(), (4, true));
    }

    async fn run_clients(&self) {
        let store = ClientStore::new(self.db.clone(), self.key.clone(), self.clock.clone());
        store.check_master_key().await.unwrap();
        let clients = Clients::from(store.clone());
        let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
        clients.check_key(&merchant_key).await.unwrap();
        let keys = |merchant_key, access_key| NewKeys {
            merchant_key,
            server_key: server_key(),
            access_key,
            secret_key: &[7; 32],
        };
        let fmr = ClientFmr { fmr: Some(Fmr::new(1e-4).unwrap()), document_fmr: None };
        let new = NewClient {
            client_id: CLIENT,
            name: "shop",
            keys: keys(&merchant_key, "AK1"),
            extras: true,
            fmr,
            policy: visavis::clients::ClientPolicy::default(),
        };
        store.add(&new).await.unwrap();
        let other = ServerKey::generate().unwrap();
        let other = ClientKey::from_der(&other.spki_der().unwrap()).unwrap();
        assert_eq!(store.rotate(CLIENT, &keys(&other, "AK2"), 1).await.unwrap(), 2);
        let change = ClientChange { fmr: Some(FmrChange::Default), ..ClientChange::default() };
        store.change(CLIENT, &change).await.unwrap();
        store.set_disabled(CLIENT, true).await.unwrap();
        store.set_disabled(CLIENT, false).await.unwrap();
        assert_eq!(clients.resolve("shop").await.unwrap().1, CLIENT);
        assert_eq!(store.list().await.unwrap().len(), 1);
        assert_eq!(store.count().await.unwrap(), 1);
        assert_eq!(store.ids().await.unwrap(), [CLIENT]);
        assert_eq!(store.get(CLIENT).await.unwrap().unwrap().keys.len(), 2);
        let one = std::num::NonZeroU32::MIN;
        let day = store.count_comparison(CLIENT, one).await.unwrap().unwrap();
        assert_eq!(store.count_comparison(CLIENT, one).await.unwrap(), None);
        assert_eq!(store.list().await.unwrap()[0].comparisons_today, 1);
        store.uncount_comparison(CLIENT, day).await.unwrap();
        store.mark_used(&[CLIENT]).await.unwrap();
        assert!(store.expiring_keys().await.unwrap().len() < 2);
        assert!(store.list().await.unwrap()[0].last_used_at.is_some());
        store
            .record_audit_event("erase", "transaction 1", ActOutcome::Done, &json!({}))
            .await
            .unwrap();
        for (client_id, act, who) in [
            (None, None, None),
            (Some(CLIENT), None, None),
            (None, Some("erase"), None),
            (None, None, Some("")),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let (client_id, act, who) = (text(client_id), text(act), text(who));
            let filter = AuditFilter { client_id, act, who, ..Default::default() };
            let listed = Clients::from(store.clone()).audit(&filter, None, 9).await.unwrap();
            assert!(!listed.entries.is_empty(), "{filter:?}");
        }
        assert_eq!(store.verify_audit().await.unwrap().unwrap().number, 6);
        assert_eq!(store.audit_ends(Some(0)).await.unwrap().len(), 6);
        assert_eq!(store.reseal(false).await.unwrap(), 3);
        self.run_accounts(AccountStore::new(store.clone())).await;
        self.hands.advance(40 * 24 * 60 * 60 * 1_000);
        assert_eq!(store.purge_expired_keys().await.unwrap(), 1);
        store.delete(CLIENT).await.unwrap();
        assert!(store.list().await.unwrap().is_empty());
    }
}

impl Everything {
    async fn run_accounts(&self, accounts: AccountStore) {
        let now = self.clock.now();
        let new = |name, role| {
            let password = PasswordHash::new("correct horse battery").unwrap();
            NewUser { name, role, password }
        };
        assert!(!accounts.has_administrator().await.unwrap());
        accounts.add(new("ann", Role::Administrator)).await.unwrap();
        accounts.add(new("bob", Role::Viewer)).await.unwrap();
        assert!(accounts.has_administrator().await.unwrap());
        let role = |role| UserChange { role: Some(role), ..UserChange::default() };
        let refused = accounts.change("ann", &role(Role::Viewer)).await;
        assert!(matches!(refused, Err(AccountError::LastAdministrator(_))), "{refused:?}");
        accounts.change("bob", &role(Role::Operator)).await.unwrap();
        let bob = accounts.find("BOB").await.unwrap().unwrap();
        for is_locked in [false, false, false, false, true] {
            assert_eq!(accounts.login_failed(&bob, now).await.unwrap(), is_locked);
        }
        assert!(accounts.logged_in(&bob, Some(7), Some("192.0.2.1"), now).await.unwrap());
        assert!(!accounts.logged_in(&bob, Some(7), None, now).await.unwrap(), "a code once");
        assert!(accounts.logged_in(&bob, None, None, now).await.unwrap());
        let token = Owner::Token(vec![1]);
        accounts.open_session(token, None, Proof::Token, now).await.unwrap();
        let person = Person {
            name: "carol".to_owned(),
            issuer: "https://login.example".to_owned(),
            subject: "7".to_owned(),
            groups: vec!["ops".to_owned()],
        };
        let carol = Owner::Person(Box::new(person));
        let cookie = accounts.open_session(carol, None, Proof::OpenIdConnect, now).await.unwrap();
        let carol = accounts.session(&cookie, true, now).await.unwrap().unwrap();
        assert!(matches!(carol.owner, Owner::Person(person) if person.groups == ["ops"]));
        let bob = Owner::User(Box::new(bob));
        let cookie = accounts.open_session(bob, None, Proof::Password, now).await.unwrap();
        let later = now + 120_000;
        assert!(accounts.session(&cookie, false, later).await.unwrap().is_some());
        let [session] = accounts.sessions(Some("bob"), later).await.unwrap().try_into().unwrap();
        accounts.end_session(&session.id).await.unwrap();
        assert_eq!(accounts.sessions(None, later).await.unwrap().len(), 2);
        assert_eq!(accounts.reseal(false).await.unwrap(), 2);
        accounts.delete("bob").await.unwrap();
        assert_eq!(accounts.list().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn every_statement_runs_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let heard = heard(async |_| {
        let db = SqliteDb::open(&folder.path().join("visavis.db")).await.unwrap();
        let everything = Everything::new(db);
        everything.run_jobs().await;
        everything.run_clients().await;
    });
    assert_eq!(heard.await, without(&all_names(), &ONLY_POSTGRES));
}

/// The first UPDATE of jobs meets a deadlock, even if no job fits.
const FAIL_ONCE: [&str; 3] = [
    "CREATE SEQUENCE failed",
    "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
         IF nextval('failed') = 1 THEN
             RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01';
         END IF;
         RETURN NULL;
     END $$",
    "CREATE TRIGGER fail_once BEFORE UPDATE ON job FOR EACH STATEMENT EXECUTE FUNCTION fail_once()",
];

/// Pictures that are not worth keeping, more than are left for the server's own clearing.
const DEAD_PICTURES: [&str; 3] = [
    "INSERT INTO job (transaction_id, client_id, biz_id, state, due_at, bytes, options, created_at)
     VALUES ('G1', '1', 'b', 0, now(), 1, '{}', now())",
    "INSERT INTO job_payload SELECT id, decode(repeat('ab', 70000000), 'hex'), '' FROM job",
    "DELETE FROM job",
];

#[tokio::test]
async fn every_statement_runs_on_postgres() {
    let url = cluster().url(&cluster().new_database().await);
    let heard = heard(async |heard| {
        let db = PostgresDb::open(&url, 4).await.unwrap();
        db.claim_number(0).await.unwrap();
        assert!(db.skew_ms(&Clock::System).await.unwrap().abs() < 5_000);
        let everything = Everything::new(db.clone());
        everything.run_jobs().await;
        everything.run_clients().await;
        for statement in FAIL_ONCE {
            sqlx::query(statement).execute(&db.pool()).await.unwrap();
        }
        let store = everything.store();
        assert!(matches!(store.bury(-1, 0).await, Err(QueueError::LeaseLost)));
        for statement in DEAD_PICTURES {
            sqlx::query(statement).execute(&db.pool()).await.unwrap();
        }
        assert!(store.vacuum_payloads().await.unwrap());
        let (wake, (_trigger, shutdown)) = (Wake::default(), Shutdown::new());
        wake.job_arrived();
        let announced = async {
            while !heard.names().contains("notify") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = wake.announce(db, shutdown) => panic!("nobody stopped it"),
            announced = tokio::time::timeout(LEASE, announced) => announced.unwrap(),
        }
    });
    assert_eq!(heard.await, without(&all_names(), &ONLY_SQLITE));
}
