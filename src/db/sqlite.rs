//! The embedded database: pools, pragmas, schema.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
        SqliteSynchronous,
    },
};

use super::{
    error::DbError,
    idle_reaper::without_idle_reaper,
    schema::{self, Access},
};
use crate::private_file;

/// Older versions can corrupt a database in WAL mode (the WAL-reset race, fixed in 3.51.3).
const OLDEST_SAFE_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// The embedded database: one writer, a few readers.
///
/// Workaround for `sqlx` 0.9: when `SQLite` has rolled a transaction back by itself, because the
/// disk is full, the ROLLBACK that follows fails, and `sqlx` counts the connection as inside a
/// transaction from then on. It is closed instead of reused.
///
/// A second writing connection would gain nothing (`SQLite` has one write lock) and bring busy
/// errors: every write goes through the single connection of `writer`, in order.
#[derive(Debug, Clone)]
pub struct SqliteDb {
    /// The one connection that writes.
    pub writer: SqlitePool,
    /// Connections that only read.
    pub readers: SqlitePool,
}

impl SqliteDb {
    /// Opens or creates the file and brings its schema up to date. Safe while another process has
    /// it open.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        Self::open_for(path, Access::Migrate).await
    }

    /// Opens the file for no more than `access` allows.
    ///
    /// # Errors
    /// [`DbError`].
    pub(crate) async fn open_for(path: &Path, access: Access) -> Result<Self, DbError> {
        let name = path.display().to_string();
        let failed =
            |error: sqlx::Error| DbError::Open { path: name.clone(), reason: error.to_string() };
        if access >= Access::Create { make_private(path) } else { private_file::check_name(path) }
            .map_err(|error| failed(error.into()))?;
        let base = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true)
            // Not in a temporary file: there may be no folder for one, and it would not be
            // encrypted.
            .pragma("temp_store", "MEMORY");
        let reading = base.clone().read_only(true);
        let writer = if access == Access::Read {
            // A connection that only reads would leave a new log and its index behind. Without a
            // log no process has the file open, and it is complete.
            let is_open = ["-wal", "-journal"].iter().any(|end| beside(path, end).exists());
            reading.clone().immutable(!is_open)
        } else {
            writing(base).create_if_missing(access >= Access::Create)
        };
        let readers = if access == Access::Read { writer.clone() } else { reading };
        let writer = pool()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(10))
            .before_acquire(|connection, _| {
                let is_clean = !connection.is_in_transaction();
                if !is_clean {
                    metrics::counter!("visavis_store_connections_closed_total").increment(1);
                    tracing::warn!("a transaction was not ended: closing its database connection");
                }
                Box::pin(async move { Ok(is_clean) })
            })
            .connect_with(writer)
            .await
            .map_err(failed)?;
        check_version(&writer).await.map_err(failed)??;
        let taken = taken(&writer).await.map_err(failed)?;
        if schema::needs_migration(&name, &taken, schema::SQLITE, access)? {
            schema::migrator(schema::SQLITE)
                .run(&writer)
                .await
                .map_err(|reason| DbError::Migrate { path: name.clone(), reason })?;
        }
        let readers = pool()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(2))
            .connect_with(readers)
            .await
            .map_err(failed)?;
        Ok(Self { writer, readers })
    }

    /// Waits for the statements under way and closes all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A file cannot lose its connection, and a test before each statement costs as much as a small
/// statement.
fn pool() -> SqlitePoolOptions {
    without_idle_reaper(SqlitePoolOptions::new()).test_before_acquire(false)
}

fn writing(base: SqliteConnectOptions) -> SqliteConnectOptions {
    // Page size and auto-vacuum take effect only before the first table.
    base.page_size(16_384)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: an acknowledged job survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        // Deleted content is overwritten: free pages hold nothing of it.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", "67108864")
}

/// A file that `SQLite` keeps beside a database.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(end);
    PathBuf::from(name)
}

async fn taken(pool: &SqlitePool) -> Result<Vec<i64>, sqlx::Error> {
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(pool).await? {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(schema::TAKEN).fetch_all(pool).await
}

/// Creates the file for its owner only. `SQLite` gives its log and index the same owner and mode.
fn make_private(path: &Path) -> io::Result<()> {
    match private_file::create_for_service(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            private_file::check_name(path)
        }
        made => made.map(drop),
    }
}

async fn check_version(writer: &SqlitePool) -> Result<Result<(), DbError>, sqlx::Error> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(writer).await?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    Ok(if found < OLDEST_SAFE_SQLITE { Err(DbError::UnsafeSqlite(version)) } else { Ok(()) })
}
