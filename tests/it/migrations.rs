//! The schema, step by step: up from every step with data in it, by many at once, and never changed
//! afterwards.

use std::{fmt::Write as _, path::Path};

use rsa::sha2::{Digest as _, Sha256};
use sqlx::{
    Connection as _,
    migrate::Migrator,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use visavis::{
    clients::{ClientChange, ClientStore, FmrChange},
    clock::Clock,
    compare::{ClientFmr, Fmr, Outcome},
    db::{Db, DbError, PostgresDb, SqliteDb, without_idle_reaper},
    queue::{Store, TransactionState},
    sealing::MasterKey,
};

use crate::{
    store::bench::{LEASE, ids, refused},
    support::{SECRET, cluster, in_repository, merchant, server_key},
};

async fn steps(folder: &str) -> Migrator {
    let folder = in_repository(&format!("migrations/{folder}"));
    Migrator::new(Path::new(&folder)).await.unwrap()
}

/// The transactions that [`JOBS`] stores: two that wait, one that runs, one that is done.
const WAITING: [&str; 2] =
    ["G000000000FID20260101000000010000000001", "G000000000FID20260101000000020000000002"];
const RUNNING: &str = "G000000000FID20260101000000030000000003";
const DONE: &str = "G000000000FID20260101000000040000000004";

/// What the program of the first step stored, at a time as the database writes it.
fn jobs(time: &str) -> String {
    let outcome = serde_json::to_string(&refused()).unwrap();
    let row = |id: &str, state: i32, outcome: &str, finished: &str| {
        format!(
            "('{id}', '2188000000000001', 'biz', {state}, {time}, 10, '{{}}', {outcome}, {time}, \
             {finished})"
        )
    };
    let rows = [
        row(WAITING[0], 0, "NULL", "NULL"),
        row(WAITING[1], 0, "NULL", "NULL"),
        row(RUNNING, 1, "NULL", "NULL"),
        row(DONE, 2, &format!("'{outcome}'"), time),
    ];
    format!(
        "INSERT INTO job (transaction_id, client_id, biz_id, state, due_at, bytes, options, \
         outcome, created_at,
                          finished_at)
         VALUES {};
         INSERT INTO job_payload (job_id, probe, reference)
         SELECT id, {blob}, {blob} FROM job WHERE state < 2;",
        rows.join(", "),
        blob = if time == "now()" { "'sealed'::bytea" } else { "x'00'" },
    )
}

/// A client of an earlier step has no rates of its own, keeps everything else, and can be given
/// some.
async fn goes_on_with_the_client(db: Db, key: MasterKey, step: &str) {
    let clients = ClientStore::new(db, key, Clock::System);
    clients.check_master_key().await.unwrap();
    let before = clients.get("2188").await.unwrap().unwrap();
    assert_eq!((before.revision, before.extras, before.disabled), (5, false, false), "{step}");
    assert_eq!(before.fmr, ClientFmr::default(), "{step}");
    assert_eq!(before.keys[0].secret_key.as_bytes(), SECRET, "{step}");
    let own = Some(FmrChange::Own(Fmr::LEAST));
    clients.change("2188", &ClientChange { fmr: own, ..Default::default() }).await.unwrap();
    let after = clients.get("2188").await.unwrap().unwrap();
    assert_eq!(after.fmr, ClientFmr { fmr: Some(Fmr::LEAST), document_fmr: None }, "{step}");
    assert_eq!((after.revision, after.extras, after.keys.len()), (6, false, 1), "{step}");
}

const CLIENT_ROW: &str = "INSERT INTO client (client_id, name, extras, revision, created_at)
     VALUES ('2188', 'old', EXTRAS, 5, 17);
     INSERT INTO client_key (client_id, version, merchant_key, server_key, access_key, secret_key, created_at)
     VALUES ('2188', 1, KEYS, 17)";

/// What the start of an earlier version stored, apart from clients.
const OWN_ROW: &str =
    "; INSERT INTO server_key (purpose, sealed, created_at) VALUES ('gateway', SEALED, 17)";

/// How the first clients were stored on `SQLite`.
const FIRST_CLIENT_ROW: &str = "INSERT INTO client
         (client_id, name, merchant_key, server_key, access_key, secret_key, extras, version, created_at)
     VALUES ('2188', 'old', KEYS, EXTRAS, 5, 17)";

fn client_row(row: &str, extras: &str, blob: impl Fn(&[u8]) -> String, key: &MasterKey) -> String {
    let own = blob(&key.seal("server-key/gateway", server_key().pkcs8_der()).unwrap());
    let merchant_key = blob(&merchant().spki_der().unwrap());
    let server_key = blob(&key.seal("server-key/2188", server_key().pkcs8_der()).unwrap());
    let secret_key = blob(&key.seal("client-secret/2188", &SECRET).unwrap());
    let keys = format!("{merchant_key}, {server_key}, 'AK1', {secret_key}");
    row.replace("KEYS", &keys).replace("EXTRAS", extras) + &OWN_ROW.replace("SEALED", &own)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_comes_up_from_every_earlier_step_with_its_clients() {
    let steps = steps("postgres").await;
    for step in steps.iter().filter(|step| (2..7).contains(&step.version)) {
        let url = cluster().url(&cluster().new_database().await);
        let old = without_idle_reaper(PgPoolOptions::new()).connect(&url).await.unwrap();
        steps.run_to(step.version, &old).await.unwrap();
        let key = MasterKey::random().unwrap();
        let blob = |bytes: &[u8]| format!("'\\x{}'", hex(bytes));
        let insert = client_row(CLIENT_ROW, "false", blob, &key);
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&old).await.unwrap();
        old.close().await;
        let db = PostgresDb::open(&url, 2).await.unwrap();
        goes_on_with_the_client(db.into(), key, &step.description).await;
    }
}

#[tokio::test]
async fn sqlite_comes_up_from_every_earlier_step_with_its_clients() {
    let steps = steps("sqlite").await;
    for step in steps.iter().filter(|step| (2..8).contains(&step.version)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("visavis.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let old =
            without_idle_reaper(SqlitePoolOptions::new()).connect_with(options).await.unwrap();
        steps.run_to(step.version, &old).await.unwrap();
        let key = MasterKey::random().unwrap();
        let row = if step.version == 2 { FIRST_CLIENT_ROW } else { CLIENT_ROW };
        let blob = |bytes: &[u8]| format!("x'{}'", hex(bytes));
        let insert = client_row(row, "0", blob, &key);
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&old).await.unwrap();
        old.close().await;
        let db = SqliteDb::open(&path).await.unwrap();
        goes_on_with_the_client(db.into(), key, &step.description).await;
    }
}

/// The program of today goes on with what was there.
async fn goes_on(db: Db) {
    let store = Store::new(db.clone(), MasterKey::random().unwrap(), Clock::System);
    let leases = store.claim(10, "today", LEASE).await.unwrap();
    let claimed: Vec<_> = ids(&leases).iter().map(ToString::to_string).collect();
    assert_eq!(
        claimed,
        [WAITING[0], WAITING[1], RUNNING],
        "all that had not ended, in their order"
    );
    for lease in &leases {
        assert_eq!(lease.job.options.fmr, None, "decided at the default");
        store.complete(lease.job.id, lease.token, &refused()).await.unwrap();
    }
    assert_eq!(crate::support::payload_rows(db).await, 0);
    for id in WAITING.iter().chain([&RUNNING, &DONE]) {
        let id = visavis::compare::TransactionId::parse(id).unwrap();
        let reported = store.transaction("2188000000000001", &id).await.unwrap().unwrap().state;
        assert!(
            matches!(reported, TransactionState::Done(outcome) if matches!(*outcome, Outcome::Refused { .. }))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_comes_up_from_every_earlier_step_with_its_jobs() {
    let steps = steps("postgres").await;
    for step in steps.iter() {
        let url = cluster().url(&cluster().new_database().await);
        let old = without_idle_reaper(PgPoolOptions::new()).connect(&url).await.unwrap();
        steps.run_to(step.version, &old).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(jobs("now()"))).execute(&old).await.unwrap();
        old.close().await;
        goes_on(PostgresDb::open(&url, 2).await.unwrap().into()).await;
    }
}

#[tokio::test]
async fn sqlite_comes_up_from_every_earlier_step_with_its_jobs() {
    let steps = steps("sqlite").await;
    for step in steps.iter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("visavis.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let old =
            without_idle_reaper(SqlitePoolOptions::new()).connect_with(options).await.unwrap();
        steps.run_to(step.version, &old).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(jobs("1767225600000"))).execute(&old).await.unwrap();
        old.close().await;
        goes_on(SqliteDb::open(&path).await.unwrap().into()).await;
    }
}

/// Released steps are on other people's disks. One that has to change becomes a further step.
#[tokio::test]
async fn no_step_was_edited() {
    let mut all = String::new();
    for folder in ["postgres", "sqlite"] {
        for step in steps(folder).await.iter() {
            let digest = Sha256::digest(step.sql.as_str().as_bytes());
            let start = u64::from_be_bytes(digest[..8].try_into().unwrap());
            writeln!(all, "{folder} {} {start:016x}", step.version).unwrap();
        }
    }
    insta::assert_snapshot!(all, @r"
    postgres 1 71ec1f0d8eaf7a02
    postgres 2 e5ae151a9a9875e2
    postgres 3 a08f4a0794160f39
    postgres 4 e1f888a103be9fb7
    postgres 5 afa077c024db9d1d
    postgres 6 e361197467ee4358
    postgres 7 0e08be1cab178419
    postgres 8 5c78af850e6cd2eb
    postgres 9 7964ecdd89c2e764
    postgres 10 86a9e91ce8df42c4
    postgres 11 e1000a745522e1fa
    postgres 12 6ac37960a312e50c
    postgres 13 e9723a9f6fb8a3bc
    postgres 14 11a70dc097afee9f
    sqlite 1 ef846ebf3f34fa39
    sqlite 2 ebd6f409636b33fe
    sqlite 3 10cab357fd4ddc12
    sqlite 4 c02e3de3a22ea3df
    sqlite 5 56cc5681646eca68
    sqlite 6 b22ffb396eb56698
    sqlite 7 ffdec589c9391bc8
    sqlite 8 dfd31f579948f2d0
    sqlite 9 8e8e749672028f97
    sqlite 10 8c0720757574400c
    sqlite 11 1dd4aa4c69d7f311
    sqlite 12 e1000a745522e1fa
    sqlite 13 300f105598171356
    sqlite 14 22e3e4b54cc71f0f
    sqlite 15 7bf627803aaaafb7
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_bring_the_schema_up_once() {
    let url = cluster().url(&cluster().new_database().await);
    let mut started = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let url = url.clone();
        started.spawn(async move { PostgresDb::open(&url, 2).await.map(|_| ()) });
    }
    while let Some(ended) = started.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_change_the_schema_starts_on_a_current_one_and_on_no_other() {
    let name = cluster().new_database().await;
    let url = cluster().url(&name);
    let mut owner = sqlx::PgConnection::connect(&url).await.unwrap();
    let role = format!("app_{name}");
    let grant = format!(
        "CREATE ROLE {role} LOGIN; ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE \
         ON TABLES TO {role}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&mut owner).await.unwrap();
    let as_app = url.replace("visavis@", &format!("{role}@"));
    let refused = PostgresDb::open(&as_app, 2).await;
    assert!(matches!(refused, Err(DbError::Migrate { .. })), "{refused:?}");
    PostgresDb::open(&url, 2).await.unwrap().close().await;
    let opened = PostgresDb::open(&as_app, 2).await.unwrap();
    opened.claim_number(0).await.unwrap();
    goes_through_a_job(opened).await;
}

async fn goes_through_a_job(db: PostgresDb) {
    let store = Store::new(db.clone(), MasterKey::random().unwrap(), Clock::System);
    let (id, request) = (
        visavis::compare::TransactionId::new(Clock::System.now_utc(), 0),
        crate::store::bench::request(1),
    );
    store.enqueue(&crate::store::bench::new_job(&id, &request, None)).await.unwrap();
    let lease = store.claim(1, "app", LEASE).await.unwrap().remove(0);
    store.complete(lease.job.id, lease.token, &refused()).await.unwrap();
    assert_eq!(crate::support::payload_rows(db).await, 0);
}
