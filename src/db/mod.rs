//! The databases that hold jobs and clients: `SQLite` in a file for one process, Postgres for many.

mod connection;
mod error;
mod idle_reaper;
mod pools;
mod postgres;
mod reason;
mod row;
mod schema;
mod server;
mod sqlite;
mod statement;
mod value;

use tracing::Instrument as _;

pub(crate) use connection::{Attempt, Transaction};
pub use error::{DbError, SchemaMismatch};
pub use idle_reaper::without_idle_reaper;
pub use postgres::{PostgresDb, is_postgres};
pub use reason::address_name;
pub(crate) use row::Row;
pub use schema::Access;
pub use sqlite::SqliteDb;
use statement::{On, Retry, statement_span};
pub(crate) use statement::{Sql, Statement};
pub(crate) use value::Value;

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
    pub(crate) fn connections(&self) -> (u32, u32) {
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
    pub(crate) async fn close(&self) {
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
