//! Statements that belong together: one try at several of them, a transaction, a session.

use sqlx::{Connection as _, Error, PgConnection, PgPool, Postgres, Sqlite};

use super::{
    postgres::PostgresDb,
    sqlite::SqliteDb,
    statement::{On, Sql, Statement},
};

/// One try at what may take several statements; clones are the same try.
#[derive(Clone)]
pub(crate) struct Attempt {
    pool: Pool,
    /// Whether an earlier try may have happened: its connection was lost before the response came.
    pub(crate) again: bool,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqliteDb),
    Postgres(PgPool),
}

impl Attempt {
    pub(super) fn on_sqlite(db: &SqliteDb) -> Self {
        Self { pool: Pool::Sqlite(db.clone()), again: false }
    }

    pub(super) fn on_postgres(pool: PgPool, again: bool) -> Self {
        Self { pool: Pool::Postgres(pool), again }
    }

    pub(crate) fn is_on_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// A statement that is made once in this try, on the connection that writes.
    pub(crate) fn statement(&self, name: &'static str, sql: impl Into<Sql>) -> Statement<'_> {
        let sql = sql.into();
        match &self.pool {
            Pool::Sqlite(db) => Statement::new(On::SqlitePool(&db.writer), name, sql.sqlite()),
            Pool::Postgres(pool) => Statement::new(On::PostgresPool(pool), name, sql.postgres()),
        }
    }

    /// Begins a transaction. It is rolled back when it is dropped.
    pub(crate) async fn begin(&self) -> Result<Transaction, Error> {
        Ok(match &self.pool {
            // At once: one that begins by reading could no longer write after another process
            // has written.
            Pool::Sqlite(db) => Transaction::Sqlite(db.writer.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => Transaction::Postgres(pool.begin().await?),
        })
    }
}

/// A transaction on either database.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    /// A statement of the transaction.
    pub(crate) fn statement(&mut self, name: &'static str, sql: impl Into<Sql>) -> Statement<'_> {
        let sql = sql.into();
        match self {
            Self::Sqlite(transaction) => {
                Statement::new(On::SqliteConnection(transaction), name, sql.sqlite())
            }
            Self::Postgres(transaction) => {
                Statement::new(On::PostgresConnection(transaction), name, sql.postgres())
            }
        }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }

    pub(crate) async fn rollback(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await,
            Self::Postgres(transaction) => transaction.rollback().await,
        }
    }
}

/// A session of Postgres outside the pool, for statements that may take longer than others.
pub(crate) struct Session(PgConnection);

impl Session {
    /// A statement of the session.
    pub(crate) fn statement(&mut self, name: &'static str, sql: &'static str) -> Statement<'_> {
        Statement::new(On::PostgresConnection(&mut self.0), name, sql)
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        self.0.close().await
    }
}

impl PostgresDb {
    /// A session outside the pool, whose statements may take ten minutes.
    ///
    /// # Errors
    /// When there is no connection.
    pub(crate) async fn session(&self) -> Result<Session, Error> {
        let mut session = Session(self.pool().acquire().await?.detach());
        session.statement("session_timeout", "SET statement_timeout = '10min'").run().await?;
        Ok(session)
    }
}
