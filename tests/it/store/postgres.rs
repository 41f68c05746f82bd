//! Postgres on the bench.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use visavis::{
    clock::Clock,
    db::{PostgresDb, without_idle_reaper},
    queue::Store,
    sealing::MasterKey,
};

use super::bench::{Database, Later};
use crate::support::cluster;

/// A database of its own in the tests' server.
pub struct Postgres {
    name: String,
    /// Beside the connections of the stores, for looking and tampering.
    own: PgPool,
    connections: Mutex<Vec<PostgresDb>>,
}

impl Postgres {
    pub async fn fresh() -> Self {
        let name = cluster().new_database().await;
        let own =
            without_idle_reaper(PgPoolOptions::new()).connect_lazy(&cluster().url(&name)).unwrap();
        Self { name, own, connections: Mutex::default() }
    }

    fn kept(&self) -> Vec<PostgresDb> {
        std::mem::take(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Every file below a folder; those that vanish meanwhile are left out.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

impl Database for Postgres {
    fn connect(&self, key: MasterKey, clock: Clock) -> Later<'_, Store> {
        Box::pin(async {
            let db = PostgresDb::open(&cluster().url(&self.name), 4).await.unwrap();
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(db.clone());
            Store::new(db, key, clock)
        })
    }

    fn disconnect(&self) -> Later<'_, ()> {
        Box::pin(async {
            for db in self.kept() {
                db.close().await;
            }
        })
    }

    /// The server itself is killed in tests of its own; here every session of the process is.
    fn crash(&mut self) -> Later<'_, ()> {
        Box::pin(async {
            self.kept();
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .execute(&self.own)
            .await
            .unwrap();
        })
    }

    fn number(&self, sql: &'static str) -> Later<'_, i64> {
        Box::pin(async move { sqlx::query_scalar(sql).fetch_one(&self.own).await.unwrap() })
    }

    fn tamper(&self, sql: &'static str) -> Later<'_, ()> {
        Box::pin(async move {
            sqlx::query(sql).execute(&self.own).await.unwrap();
        })
    }

    /// The files of this database, and the log of changes, which all databases share.
    fn at_rest(&self) -> Later<'_, Vec<u8>> {
        Box::pin(async {
            sqlx::query("CHECKPOINT").execute(&self.own).await.unwrap();
            let oid: i64 = sqlx::query_scalar(
                "SELECT oid::bigint FROM pg_database WHERE datname = current_database()",
            )
            .fetch_one(&self.own)
            .await
            .unwrap();
            let mut found = Vec::new();
            files(&cluster().data().join(format!("base/{oid}")), &mut found);
            files(&cluster().data().join("pg_wal"), &mut found);
            assert!(found.len() > 100, "these are the files of a database");
            // A file of the log may be recycled meanwhile.
            let contents: Vec<_> = found.iter().filter_map(|path| fs::read(path).ok()).collect();
            contents.concat()
        })
    }
}
