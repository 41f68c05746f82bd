//! The database behind a service, looked at and changed from outside.

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use visavis::db::{Db, without_idle_reaper};

use super::TestApp;

/// Everything that a request can leave behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Transactions, whatever became of them.
    pub transactions: i64,
    /// Jobs that wait or run.
    pub waiting: u64,
    /// Pairs of photos.
    pub payloads: i64,
}

/// What is stored now.
pub async fn stored(app: &TestApp) -> Stored {
    let pool = open(app).await;
    let transactions =
        sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&pool).await.unwrap();
    pool.close().await;
    Stored {
        transactions,
        waiting: app.store.depth().await.unwrap().jobs,
        payloads: payload_rows(app.db.clone()).await,
    }
}

/// Pairs of photos in a database.
pub async fn payload_rows(db: impl Into<Db>) -> i64 {
    let sql = "SELECT count(*) FROM job_payload";
    match db.into() {
        Db::Sqlite(db) => sqlx::query_scalar(sql).fetch_one(&db.readers).await.unwrap(),
        Db::Postgres(db) => sqlx::query_scalar(sql).fetch_one(&db.pool()).await.unwrap(),
    }
}

async fn open(app: &TestApp) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(app.folder.path().join("visavis.db"));
    without_idle_reaper(SqlitePoolOptions::new()).connect_with(options).await.unwrap()
}

/// Every statement on jobs fails from now on.
pub async fn break_jobs(app: &TestApp) {
    let pool = open(app).await;
    sqlx::query("ALTER TABLE job RENAME TO gone").execute(&pool).await.unwrap();
    pool.close().await;
}
