//! The databases that hold jobs and clients: `SQLite` in a file for one process, Postgres for many.

mod connection;
mod pools;
mod postgres;
mod reason;
mod row;
mod schema;
mod server;
mod sqlite;
mod statement;
mod value;

use std::fmt;

use sqlx::migrate::MigrateError;
use tracing::Instrument as _;

pub(crate) use connection::{Attempt, Transaction};
pub use postgres::{PostgresDb, is_postgres};
pub use reason::address_name;
pub(crate) use row::Row;
pub use sqlite::SqliteDb;
use statement::{On, Retry, statement_span};
pub(crate) use statement::{Sql, Statement};
pub(crate) use value::Value;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// It could not be opened.
    #[error("cannot open the database {path}: {reason}")]
    Open {
        /// The file, or user, host, port and database.
        path: String,
        /// What is wrong, and what to do if that is known.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the schema of {path}: {reason}")]
    Migrate {
        /// The file, or user, host, port and database.
        path: String,
        /// Why. No source, because it would be printed twice.
        reason: MigrateError,
    },
    /// The database has no tables of Visavis.
    #[error(
        "no Visavis data in {path}: check database.url, or create the tables with \
         `visavis client add` or `visavis serve`"
    )]
    NoSchema {
        /// The file, or the host.
        path: String,
    },
    /// The schema belongs to another version of Visavis.
    #[error("{path}: schema {mismatch}")]
    Schema {
        /// The file, or the host.
        path: String,
        /// Which version it has.
        mismatch: SchemaMismatch,
    },
    /// The linked `SQLite` has a known bug that loses data.
    #[error("SQLite {0} can corrupt a database in WAL mode: link 3.51.3 or newer")]
    UnsafeSqlite(String),
    /// The address is that of a pooler in transaction mode: each statement may get another
    /// connection.
    #[error(
        "{0} is a pooler in transaction mode, which mixes up responses of different clients: \
         use the address of Postgres itself, or set the pooler to session mode"
    )]
    TransactionPooler(String),
    /// The databases of the installation are in another order than before.
    #[error(
        "the database at {path} is number {is} of this installation but is configured as number \
         {asked}: restore the original order of database.urls, and add new databases at the end"
    )]
    OtherShard {
        /// The host.
        path: String,
        /// What it was first used as.
        is: i64,
        /// What it is used as now.
        asked: i64,
    },
    /// The server takes no writes.
    #[error("{0} is a standby and takes no writes: use the address of the primary")]
    Standby(String),
}

/// The schema versions of the database and of this program, which differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaMismatch {
    found: i64,
    needed: i64,
}

impl SchemaMismatch {
    /// Whether `visavis migrate` brings it up to date.
    pub fn is_older(&self) -> bool {
        self.found <= self.needed
    }
}

impl fmt::Display for SchemaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}, this program needs {}: ", self.found, self.needed)?;
        f.write_str(if self.is_older() {
            "stop all processes, then run `visavis migrate`"
        } else {
            "use the version of Visavis that migrated it, or restore a backup from before"
        })
    }
}

/// What opening a database may do to it, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Only reads: creates no file and no table.
    Read,
    /// Changes rows of a database with the current schema.
    Change,
    /// Also creates a database or a schema that is missing.
    Create,
    /// Also brings the schema of an earlier version up to date.
    Migrate,
}

/// A database; clones share the connections.
#[derive(Debug, Clone)]
pub enum Db {
    /// In a file, for one process.
    Sqlite(SqliteDb),
    /// For many processes.
    Postgres(PostgresDb),
}

impl Db {
    /// Connections that are open: used and idle.
    pub fn connections(&self) -> (u32, u32) {
        let of = |size: u32, idle: usize| {
            let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(size);
            (size - idle, idle)
        };
        match self {
            Self::Sqlite(db) => {
                let (readers, writer) = (
                    of(db.readers.size(), db.readers.num_idle()),
                    of(db.writer.size(), db.writer.num_idle()),
                );
                (readers.0 + writer.0, readers.1 + writer.1)
            }
            Self::Postgres(db) => {
                let pool = db.pool();
                of(pool.size(), pool.num_idle())
            }
        }
    }

    /// Waits for the statements under way and closes all connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(db) => db.close().await,
            Self::Postgres(db) => db.close().await,
        }
    }

    /// A statement that changes nothing. On Postgres it is made again while the connection is being
    /// lost.
    pub(crate) fn read(&self, name: &'static str, sql: impl Into<Sql>) -> Statement<'_> {
        match self {
            Self::Sqlite(db) => {
                Statement::new(On::SqlitePool(&db.readers), name, sql.into().sqlite())
            }
            Self::Postgres(_) => self.write(name, sql),
        }
    }

    /// A statement on the connection that writes. On Postgres it is made again while the connection
    /// is being lost, so it must come to the same if it is made twice.
    pub(crate) fn write(&self, name: &'static str, sql: impl Into<Sql>) -> Statement<'_> {
        self.writing(name, sql.into(), Retry::Yes)
    }

    /// A statement that must not be made twice: whether it was made the first time would not be
    /// known.
    pub(crate) fn write_once(&self, name: &'static str, sql: impl Into<Sql>) -> Statement<'_> {
        self.writing(name, sql.into(), Retry::No)
    }

    fn writing(&self, name: &'static str, sql: Sql, retry: Retry) -> Statement<'_> {
        match self {
            Self::Sqlite(db) => Statement::new(On::SqlitePool(&db.writer), name, sql.sqlite()),
            Self::Postgres(db) => Statement::new(On::Postgres(db, retry), name, sql.postgres()),
        }
    }

    /// Makes several statements, or a transaction. On Postgres they are made again while the
    /// connection is being lost; [`Attempt::again`] says so.
    pub(crate) async fn retrying<T, F>(
        &self,
        name: &'static str,
        mut call: impl FnMut(Attempt) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let span = statement_span(name);
        match self {
            Self::Sqlite(db) => Box::pin(call(Attempt::on_sqlite(db))).instrument(span).await,
            Self::Postgres(db) => {
                // Boxed: several futures around it would hold it.
                let call = |pool, again| Box::pin(call(Attempt::on_postgres(pool, again)));
                db.retrying(call).instrument(span).await
            }
        }
    }

    /// The same for what must not be made twice.
    pub(crate) async fn once<T, F>(
        &self,
        name: &'static str,
        call: impl FnOnce(Attempt) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let span = statement_span(name);
        match self {
            Self::Sqlite(db) => Box::pin(call(Attempt::on_sqlite(db))).instrument(span).await,
            Self::Postgres(db) => {
                let call = |pool| Box::pin(call(Attempt::on_postgres(pool, false)));
                db.once(call).instrument(span).await
            }
        }
    }
}

impl From<SqliteDb> for Db {
    fn from(db: SqliteDb) -> Self {
        Self::Sqlite(db)
    }
}

impl From<PostgresDb> for Db {
    fn from(db: PostgresDb) -> Self {
        Self::Postgres(db)
    }
}

/// Workaround for `SQLx` 0.9: its counter of idle connections can underflow when a connection is
/// taken while it is being returned, and the reaper then spins.
/// <https://github.com/launchbadge/sqlx/issues/3645>
pub fn without_idle_reaper<DB: sqlx::Database>(
    options: sqlx::pool::PoolOptions<DB>,
) -> sqlx::pool::PoolOptions<DB> {
    options.max_lifetime(None).idle_timeout(None)
}
