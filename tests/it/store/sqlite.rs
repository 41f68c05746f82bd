//! The embedded database on the bench.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;
use visavis::{clock::Clock, db::SqliteDb, queue::Store, sealing::MasterKey};

use super::bench::{Database, Later};

/// A file in a folder of its own.
pub struct Sqlite {
    folder: TempDir,
    /// Beside the connections of the stores, for looking and tampering.
    own: SqliteDb,
    connections: Mutex<Vec<SqliteDb>>,
    careless: bool,
}

impl Sqlite {
    pub async fn fresh() -> Self {
        Self::open(tempfile::tempdir().unwrap(), false).await
    }

    /// One that would not survive a power cut, for tests that write ten thousand times.
    pub async fn careless() -> Self {
        Self::open(tempfile::tempdir().unwrap(), true).await
    }

    async fn open(folder: TempDir, careless: bool) -> Self {
        let own = SqliteDb::open(&file(folder.path())).await.unwrap();
        Self { folder, own, connections: Mutex::default(), careless }
    }

    fn keep(&self, db: SqliteDb) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(db);
    }

    fn kept(&self) -> Vec<SqliteDb> {
        std::mem::take(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("visavis.db")
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

impl Database for Sqlite {
    fn connect(&self, key: MasterKey, clock: Clock) -> Later<'_, Store> {
        Box::pin(async {
            let db = SqliteDb::open(&file(self.folder.path())).await.unwrap();
            if self.careless {
                sqlx::query("PRAGMA synchronous = OFF").execute(&db.writer).await.unwrap();
            }
            self.keep(db.clone());
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

    fn crash(&mut self) -> Later<'_, ()> {
        Box::pin(async {
            let found = tempfile::tempdir().unwrap();
            // The shared memory is rebuilt from the log by anyone who opens the file first.
            for path in files(self.folder.path()).filter(|p| !p.ends_with("visavis.db-shm")) {
                fs::copy(&path, found.path().join(path.file_name().unwrap())).unwrap();
            }
            *self = Self::open(found, self.careless).await;
        })
    }

    fn number(&self, sql: &'static str) -> Later<'_, i64> {
        Box::pin(async move { sqlx::query_scalar(sql).fetch_one(&self.own.readers).await.unwrap() })
    }

    fn tamper(&self, sql: &'static str) -> Later<'_, ()> {
        Box::pin(async move {
            sqlx::query(sql).execute(&self.own.writer).await.unwrap();
        })
    }

    fn at_rest(&self) -> Later<'_, Vec<u8>> {
        Box::pin(async { files(self.folder.path()).flat_map(|p| fs::read(p).unwrap()).collect() })
    }
}
