//! Why a database cannot be used.

use std::fmt;

use sqlx::migrate::MigrateError;

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
    /// It could not be reached, or is starting: another attempt may succeed.
    #[error("cannot open the database {path}: {reason}")]
    Away {
        /// User, host, port and database.
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
    pub(super) found: i64,
    pub(super) needed: i64,
}

impl SchemaMismatch {
    /// Whether `visavis migrate` brings it up to date.
    pub(crate) fn is_older(&self) -> bool {
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
