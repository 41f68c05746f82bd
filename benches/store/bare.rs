//! The upper bound: the same rows by hand-written SQL over as many connections, with nothing
//! sealed, nothing renewed, and no notifications.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use sqlx::{
    PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, task::JoinSet};

use crate::fixture::{CONNECTIONS, PICTURE, PRODUCERS, WORKERS, noise};

/// Jobs in one claim.
const AT_ONCE: u32 = 8;

const POSTGRES: &str = "
CREATE TABLE bare_job (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dedupe bytea NOT NULL UNIQUE,
    state  smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    token  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX bare_due ON bare_job (due_at, id) WHERE state IN (0, 1);
CREATE TABLE bare_payload (
    job_id    bigint PRIMARY KEY REFERENCES bare_job (id) ON DELETE CASCADE,
    probe     bytea NOT NULL,
    reference bytea NOT NULL
);
ALTER TABLE bare_payload
    ALTER COLUMN probe SET STORAGE EXTERNAL, ALTER COLUMN reference SET STORAGE EXTERNAL;
";

const SQLITE: &str = "
CREATE TABLE bare_job (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    dedupe BLOB NOT NULL UNIQUE,
    state  INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL DEFAULT 0,
    token  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX bare_due ON bare_job (due_at, id) WHERE state IN (0, 1);
CREATE TABLE bare_payload (
    job_id    INTEGER PRIMARY KEY REFERENCES bare_job (id) ON DELETE CASCADE,
    probe     BLOB NOT NULL,
    reference BLOB NOT NULL
) STRICT;
";

/// A database without the store.
#[derive(Debug, Clone)]
pub(crate) enum Bare {
    Postgres(PgPool),
    Sqlite { writer: SqlitePool, readers: SqlitePool },
}

impl Bare {
    pub(crate) async fn on_postgres(url: &str) -> Self {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await.unwrap();
        sqlx::raw_sql(POSTGRES).execute(&pool).await.unwrap();
        Self::Postgres(pool)
    }

    pub(crate) async fn on_sqlite(path: &std::path::Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(16_384)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let one = SqlitePoolOptions::new().max_connections(1);
        let writer = one.connect_with(options.clone()).await.unwrap();
        sqlx::raw_sql(SQLITE).execute(&writer).await.unwrap();
        let some = SqlitePoolOptions::new().max_connections(4);
        let readers = some.connect_with(options.read_only(true)).await.unwrap();
        Self::Sqlite { writer, readers }
    }

    async fn enqueue(&self, picture: &[u8]) {
        let dedupe = noise(32);
        match self {
            Self::Postgres(pool) => {
                let sql = "WITH new AS (INSERT INTO bare_job (dedupe) VALUES ($1) RETURNING id)
                           INSERT INTO bare_payload SELECT id, $2, $2 FROM new";
                sqlx::query(sql).bind(dedupe).bind(picture).execute(pool).await.unwrap();
            }
            Self::Sqlite { writer, .. } => {
                let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
                let sql = "INSERT INTO bare_job (dedupe) VALUES ($1)";
                let new = sqlx::query(sql).bind(dedupe).execute(&mut *tx).await.unwrap();
                let sql = "INSERT INTO bare_payload VALUES ($1, $2, $2)";
                let new = sqlx::query(sql).bind(new.last_insert_rowid()).bind(picture);
                new.execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            }
        }
    }

    /// Takes as many jobs as there are workers.
    async fn claim(&self) -> Vec<i64> {
        match self {
            Self::Postgres(pool) => {
                let sql = "WITH due AS MATERIALIZED (
                               SELECT id FROM bare_job
                               WHERE state IN (0, 1) AND due_at <= statement_timestamp()
                               ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
                           )
                           UPDATE bare_job
                           SET state = 1, token = token + 1, due_at = due_at + interval '30 s'
                           FROM due WHERE bare_job.id = due.id RETURNING bare_job.id";
                let claim = sqlx::query_scalar(sql).bind(i64::from(AT_ONCE));
                claim.fetch_all(pool).await.unwrap()
            }
            Self::Sqlite { writer, .. } => {
                let sql = "UPDATE bare_job SET state = 1, token = token + 1, due_at = 1
                           WHERE id IN (
                               SELECT id FROM bare_job WHERE state IN (0, 1) AND due_at <= 0
                               ORDER BY due_at, id LIMIT $1
                           )
                           RETURNING id";
                sqlx::query_scalar(sql).bind(AT_ONCE).fetch_all(writer).await.unwrap()
            }
        }
    }

    async fn work(&self, id: i64) {
        match self {
            Self::Postgres(pool) => {
                let sql = "SELECT probe, reference FROM bare_payload WHERE job_id = $1";
                let _: (Vec<u8>, Vec<u8>) =
                    sqlx::query_as(sql).bind(id).fetch_one(pool).await.unwrap();
                let sql = "WITH done AS (UPDATE bare_job SET state = 2 WHERE id = $1 RETURNING id)
                           DELETE FROM bare_payload WHERE job_id IN (SELECT id FROM done)";
                sqlx::query(sql).bind(id).execute(pool).await.unwrap();
            }
            Self::Sqlite { writer, readers } => {
                let sql = "SELECT probe, reference FROM bare_payload WHERE job_id = $1";
                let _: (Vec<u8>, Vec<u8>) =
                    sqlx::query_as(sql).bind(id).fetch_one(readers).await.unwrap();
                let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
                for sql in [
                    "UPDATE bare_job SET state = 2 WHERE id = $1",
                    "DELETE FROM bare_payload WHERE job_id = $1",
                ] {
                    sqlx::query(sql).bind(id).execute(&mut *tx).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        }
    }

    /// Stores so many jobs and works on them at the same time; returns when all are done.
    pub(crate) async fn run(&self, jobs: usize) {
        let picture: Arc<[u8]> = noise(PICTURE).into();
        let left = Arc::new(AtomicUsize::new(jobs));
        let claimed = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for _ in 0..PRODUCERS {
            let (bare, picture) = (self.clone(), Arc::clone(&picture));
            tasks.spawn(async move {
                for _ in 0..jobs / PRODUCERS {
                    bare.enqueue(&picture).await;
                }
            });
        }
        for _ in 0..WORKERS {
            let (bare, left, claimed) = (self.clone(), Arc::clone(&left), Arc::clone(&claimed));
            tasks.spawn(async move {
                while left.load(SeqCst) > 0 {
                    let mut jobs = claimed.lock().await;
                    if jobs.is_empty() {
                        jobs.extend(bare.claim().await);
                    }
                    let next = jobs.pop();
                    drop(jobs);
                    if let Some(id) = next {
                        bare.work(id).await;
                        left.fetch_sub(1, SeqCst);
                    } else {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }
}
