//! The databases that jobs and clients can lie in: `SQLite` in a file for one process, Postgres for many.

mod pools;
mod postgres;
mod reason;
mod schema;
mod sqlite;

use std::fmt;

use sqlx::migrate::MigrateError;

pub use postgres::{PostgresDb, is_postgres};
pub use reason::address_name;
pub use sqlite::SqliteDb;

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
    /// There is a database, and nothing of Visavis in it.
    #[error(
        "no Visavis data in {path}: check database.url, or create the tables with `visavis client add` or `visavis serve`"
    )]
    NoSchema {
        /// The file, or the host.
        path: String,
    },
    /// The schema is that of another version of Visavis.
    #[error("{path}: schema {mismatch}")]
    Schema {
        /// The file, or the host.
        path: String,
        /// Which version it has.
        mismatch: SchemaMismatch,
    },
    /// The linked `SQLite` has a known bug that loses data.
    #[error("SQLite {0} can corrupt a database in WAL mode; 3.51.3 or newer is needed")]
    UnsafeSqlite(String),
    /// The address is that of a pooler that gives every statement another connection.
    #[error(
        "{0} is a pooler in transaction mode, which mixes up answers of different clients; give the address of \
         Postgres itself, or set the pooler to session mode"
    )]
    TransactionPooler(String),
    /// The databases of the installation are in another order than they were.
    #[error(
        "the database at {path} has the number {is} of this installation and is now given as number {asked}; put \
         database.urls back into the order in which they were first used, and add new ones at the end"
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
    #[error("{0} is a standby that takes no writes; give the address of the primary")]
    Standby(String),
}

/// A schema that is not the one of this program, by the numbers of the last steps.
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

/// What the lines of the log about a statement are part of, and its span in a trace.
pub fn statement_span(statement: &'static str) -> tracing::Span {
    tracing::error_span!("db.statement", statement)
}

/// A pool without the task that looks for old connections. That of `SQLx` 0.9 counts idle connections in a number that
/// falls below zero for a moment when one is taken just as it comes back; the task then goes through 2⁶⁴ of them, its
/// thread does nothing else any more, and the runtime never ends.
pub fn unattended<DB: sqlx::Database>(
    options: sqlx::pool::PoolOptions<DB>,
) -> sqlx::pool::PoolOptions<DB> {
    options.max_lifetime(None).idle_timeout(None)
}
