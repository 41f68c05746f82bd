//! One statement for two databases: its name, its text and its values, and how it is run.
//!
//! A text is written once, in the SQL of Postgres. `SQLite` understands the same text without
//! [`ONLY_POSTGRES`]. A statement that cannot be written so has both texts side by side:
//! [`Sql::Each`].

use std::{pin::Pin, sync::Arc};

use sqlx::{
    AssertSqlSafe, Error, PgConnection, PgExecutor, PgPool, SqlSafeStr as _, SqlStr,
    SqliteConnection, SqliteExecutor, SqlitePool,
};
use tracing::Instrument as _;

use super::{postgres::PostgresDb, row::Row, sqlite::SqliteDb, value::Value};

/// What is left out of a text for `SQLite`. Times are milliseconds there and timestamps on
/// Postgres, so the functions that convert them and the unit of a duration have no counterpart; and
/// it has one writer, so there are no rows that another writer has locked; and it compares texts by
/// their bytes.
const ONLY_POSTGRES: [&str; 5] = [
    "visavis_now",
    "visavis_millis",
    " * interval '1 millisecond'",
    " FOR UPDATE SKIP LOCKED",
    " COLLATE \"C\"",
];

/// The text of a statement, with `$1`, `$2` … for its values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sql {
    /// One text for both databases.
    Both(&'static str),
    /// Two texts, for what cannot be said in the same words.
    Each {
        /// For `SQLite`.
        sqlite: &'static str,
        /// For Postgres.
        postgres: &'static str,
    },
}

impl From<&'static str> for Sql {
    fn from(sql: &'static str) -> Self {
        Self::Both(sql)
    }
}

impl Sql {
    pub(super) fn sqlite(self) -> &'static str {
        match self {
            Self::Both(sql) | Self::Each { sqlite: sql, .. } => sql,
        }
    }

    pub(super) fn postgres(self) -> &'static str {
        match self {
            Self::Both(sql) | Self::Each { postgres: sql, .. } => sql,
        }
    }
}

/// Whether a statement is made again when the connection is lost under it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Retry {
    Yes,
    No,
}

/// Where a statement is run.
pub(super) enum On<'a> {
    SqlitePool(&'a SqlitePool),
    SqliteConnection(&'a mut SqliteConnection),
    Postgres(&'a PostgresDb, Retry),
    PostgresPool(&'a PgPool),
    PostgresConnection(&'a mut PgConnection),
}

/// A statement that has not been run yet.
#[must_use = "a statement does nothing until it is run"]
pub(crate) struct Statement<'a> {
    on: On<'a>,
    command: Command<'a>,
}

struct Command<'a> {
    name: &'static str,
    sql: &'static str,
    values: Vec<Value<'a>>,
}

/// What a statement came to: rows, or how many rows it changed.
#[derive(Default)]
struct Answer {
    rows: Vec<Row>,
    changed: u64,
}

impl<'a> Statement<'a> {
    pub(super) fn new(on: On<'a>, name: &'static str, sql: &'static str) -> Self {
        Self { on, command: Command { name, sql, values: Vec::new() } }
    }

    /// The next value: `$1`, `$2` …
    pub(crate) fn bind(mut self, value: impl Into<Value<'a>>) -> Self {
        self.command.values.push(value.into());
        self
    }

    /// Runs it; returns how many rows it changed.
    pub(crate) async fn run(self) -> Result<u64, Error> {
        Ok(self.answer(false).await?.changed)
    }

    /// Runs it and reads all rows that it returns.
    pub(crate) async fn all<T>(
        self,
        read: impl FnMut(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.answer(true).await?.rows.iter().map(read).collect()
    }

    /// Runs it and reads the row that it returns, if any.
    pub(crate) async fn optional<T>(
        self,
        read: impl FnOnce(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.answer(true).await?.rows.first().map(read).transpose()
    }

    /// Runs it and reads the row that it returns.
    ///
    /// # Errors
    /// Also [`Error::RowNotFound`].
    pub(crate) async fn one<T>(
        self,
        read: impl FnOnce(&Row) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.optional(read).await?.ok_or(Error::RowNotFound)
    }

    /// Boxed: callers hold this future, and it is large.
    fn answer(
        self,
        has_rows: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + 'a>> {
        let Self { on, command } = self;
        let span = statement_span(command.name);
        let answer = async move {
            let command = &command;
            match on {
                On::SqlitePool(pool) => command.on_sqlite(pool, has_rows).await,
                On::SqliteConnection(connection) => command.on_sqlite(connection, has_rows).await,
                On::PostgresPool(pool) => command.on_postgres(pool, has_rows).await,
                On::PostgresConnection(connection) => {
                    command.on_postgres(connection, has_rows).await
                }
                On::Postgres(db, Retry::Yes) => {
                    let call = |pool, _| async move { command.on_postgres(&pool, has_rows).await };
                    db.retrying(call).await
                }
                On::Postgres(db, Retry::No) => {
                    let call = |pool| async move { command.on_postgres(&pool, has_rows).await };
                    db.once(call).await
                }
            }
        };
        Box::pin(answer.instrument(span))
    }
}

impl SqliteDb {
    /// A statement that only `SQLite` has, on the connection that writes.
    pub(crate) fn statement(&self, name: &'static str, sql: &'static str) -> Statement<'_> {
        Statement::new(On::SqlitePool(&self.writer), name, sql)
    }
}

impl PostgresDb {
    /// A statement that only Postgres has; it is made again while the connection is being lost.
    pub(crate) fn statement(&self, name: &'static str, sql: &'static str) -> Statement<'_> {
        Statement::new(On::Postgres(self, Retry::Yes), name, sql)
    }
}

impl Command<'_> {
    async fn on_sqlite(
        &self,
        on: impl SqliteExecutor<'_>,
        has_rows: bool,
    ) -> Result<Answer, Error> {
        let text = text(for_sqlite(self.name, self.sql));
        let query = sqlx::query_with(text, Value::for_sqlite(&self.values).map_err(Error::Encode)?);
        if has_rows {
            let rows = query.fetch_all(on).await?.into_iter().map(Row::Sqlite).collect();
            return Ok(Answer { rows, ..Answer::default() });
        }
        Ok(Answer { changed: query.execute(on).await?.rows_affected(), ..Answer::default() })
    }

    async fn on_postgres(&self, on: impl PgExecutor<'_>, has_rows: bool) -> Result<Answer, Error> {
        let text = text(named(self.name, self.sql));
        let query =
            sqlx::query_with(text, Value::for_postgres(&self.values).map_err(Error::Encode)?);
        if has_rows {
            let rows = query.fetch_all(on).await?.into_iter().map(Row::Postgres).collect();
            return Ok(Answer { rows, ..Answer::default() });
        }
        Ok(Answer { changed: query.execute(on).await?.rows_affected(), ..Answer::default() })
    }
}

/// What the lines of the log about a statement are part of, and its span in a trace.
pub(super) fn statement_span(statement: &'static str) -> tracing::Span {
    tracing::error_span!("db.statement", statement)
}

/// The name first, so that `pg_stat_activity` and `pg_stat_statements` show it.
fn named(name: &str, sql: &str) -> String {
    format!("/* {name} */ {sql}")
}

fn for_sqlite(name: &str, sql: &str) -> String {
    let mut text = named(name, sql);
    for words in ONLY_POSTGRES {
        if text.contains(words) {
            text = text.replace(words, "");
        }
    }
    text
}

/// Nothing of it was put in at run time: [`Statement::new`] takes constants.
fn text(text: String) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_gets_a_text_without_what_only_postgres_has() {
        let sql = "SELECT visavis_millis(a) FROM job \
                   WHERE a < visavis_now($1) - $2 * interval '1 millisecond' \
                   FOR UPDATE SKIP LOCKED";
        assert_eq!(for_sqlite("late", sql), "/* late */ SELECT (a) FROM job WHERE a < ($1) - $2");
        assert_eq!(named("late", sql), format!("/* late */ {sql}"));
    }
}
