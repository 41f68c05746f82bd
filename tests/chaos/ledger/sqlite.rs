//! The ledger of an embedded database. It has one process at a time, which writes down who it is.

use std::path::Path;

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use visavis::db::without_idle_reaper;

use super::Entry;

/// Leases alone are left out: a process that starts ends those of its predecessor.
const LEDGER: &str = "
CREATE TABLE chaos_process (number INTEGER NOT NULL);
INSERT INTO chaos_process VALUES (0);
CREATE TABLE chaos_ledger (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id         INTEGER NOT NULL,
    transaction_id TEXT    NOT NULL,
    process        INTEGER NOT NULL,
    old_state      INTEGER NOT NULL,
    new_state      INTEGER NOT NULL,
    old_attempt    INTEGER NOT NULL,
    new_attempt    INTEGER NOT NULL,
    old_token      INTEGER NOT NULL,
    new_token      INTEGER NOT NULL
);
CREATE TRIGGER chaos_note_insert AFTER INSERT ON job BEGIN
    INSERT INTO chaos_ledger (job_id, transaction_id, process, old_state, new_state, old_attempt, new_attempt,
                              old_token, new_token)
    VALUES (NEW.id, NEW.transaction_id, (SELECT number FROM chaos_process), -1, NEW.state, 0, NEW.attempt, 0,
            NEW.token);
END;
CREATE TRIGGER chaos_note_update AFTER UPDATE OF state, attempt, token, outcome ON job BEGIN
    INSERT INTO chaos_ledger (job_id, transaction_id, process, old_state, new_state, old_attempt, new_attempt,
                              old_token, new_token)
    VALUES (NEW.id, NEW.transaction_id, (SELECT number FROM chaos_process), OLD.state, NEW.state, OLD.attempt,
            NEW.attempt, OLD.token, NEW.token);
END;
CREATE TRIGGER chaos_note_delete AFTER DELETE ON job BEGIN
    INSERT INTO chaos_ledger (job_id, transaction_id, process, old_state, new_state, old_attempt, new_attempt,
                              old_token, new_token)
    VALUES (OLD.id, OLD.transaction_id, (SELECT number FROM chaos_process), OLD.state, -1, OLD.attempt, 0,
            OLD.token, 0);
END;
";

/// Looks past the store while no other process has the database.
#[derive(Debug, Clone)]
pub struct SqliteBooks(SqlitePool);

impl SqliteBooks {
    /// Opens a database that has the store's schema.
    pub async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path);
        Self(without_idle_reaper(SqlitePoolOptions::new()).connect_with(options).await.unwrap())
    }

    /// Begins to keep books.
    pub async fn begin(&self) {
        self.tamper(LEDGER).await;
    }

    /// Changes from now on are recorded for that process.
    pub async fn sign(path: &Path, number: u32) {
        let books = Self::open(path).await;
        sqlx::query("UPDATE chaos_process SET number = $1")
            .bind(number)
            .execute(&books.0)
            .await
            .unwrap();
        books.close().await;
    }

    /// Changes the database behind the store's back.
    pub async fn tamper(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.0).await.unwrap();
    }

    pub async fn number(&self, sql: &'static str) -> u64 {
        let number: i64 = sqlx::query_scalar(sql).fetch_one(&self.0).await.unwrap();
        number.unsigned_abs()
    }

    /// Jobs that are not at their end.
    pub async fn unfinished(&self) -> u64 {
        self.number("SELECT count(*) FROM job WHERE state IN (0, 1)").await
    }

    /// Pairs of pictures.
    pub async fn pictures(&self) -> u64 {
        self.number("SELECT count(*) FROM job_payload").await
    }

    /// What the database says about its own file: `ok`.
    pub async fn integrity(&self) -> String {
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&self.0).await.unwrap()
    }

    /// Every change, job by job.
    pub async fn entries(&self) -> Vec<Entry> {
        sqlx::query_as("SELECT * FROM chaos_ledger ORDER BY job_id, seq")
            .fetch_all(&self.0)
            .await
            .unwrap()
    }

    pub async fn close(self) {
        self.0.close().await;
    }
}
