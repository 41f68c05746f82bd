//! Postgres: the pool, the settings of every session, and the checks when it is opened.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions},
};

use super::{
    error::DbError,
    idle_reaper::without_idle_reaper,
    pools::{Pools, Used, close},
    reason::{is_away, name, reason},
    schema::{self, Access},
};
use crate::deadline;

/// Settings of every session: no statement takes long, and a lock that cannot be taken is a reason
/// to retry.
const SESSION: &str = "SET statement_timeout = '8s'; SET lock_timeout = '2s'; \
                       SET idle_in_transaction_session_timeout = '10s'";
/// Settings of the sessions of a command that only reads.
const READ_ONLY: &str = "SET default_transaction_read_only = on";
/// The maximum age of a connection: names get new addresses, and sessions accumulate memory.
const MAX_CONNECTION_AGE: Duration = Duration::from_mins(30);
/// Timeouts for a connection to become free, and to respond to a test.
const ACQUIRE: Duration = Duration::from_secs(2);
const TEST: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is tested before it is used.
const IDLE: Duration = Duration::from_secs(5);
/// The timeout of a call, with its retries: clients wait for ten seconds.
const CALL: Duration = Duration::from_secs(8);
/// The least timeout of a call, even if other calls of the same request took all the time.
const LEAST: Duration = Duration::from_millis(500);
/// The wait before a retry, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Whether an address belongs to Postgres.
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Connections to one Postgres server; clones share them.
#[derive(Debug, Clone)]
pub struct PostgresDb {
    pools: Arc<Pools>,
    options: Arc<PgConnectOptions>,
}

impl PostgresDb {
    /// Connects, checks the server, and migrates the schema (under a lock: processes that start
    /// together do it one after the other).
    ///
    /// # Errors
    /// [`DbError`]; an address in it is without user and password.
    pub async fn open(url: &str, connections: u32) -> Result<Self, DbError> {
        Self::open_for(url, None, connections, Access::Migrate).await
    }

    /// The same for no more than `access` allows, and with the password if it is not part of the
    /// address.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_for(
        url: &str,
        password: Option<&str>,
        connections: u32,
        access: Access,
    ) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| DbError::Open {
            path: "at database.url".to_owned(),
            reason: reason(&error, &PgConnectOptions::new_without_pgpass()),
        })?;
        let options = options.application_name("visavis");
        let options = match password {
            Some(password) => options.password(password),
            None => options,
        };
        let name = name(&options);
        let failed = |error| {
            let (path, reason) = (name.clone(), reason(&error, &options));
            if is_away(&error) {
                DbError::Away { path, reason }
            } else {
                DbError::Open { path, reason }
            }
        };
        if in_time(CALL, is_transaction_pooler(&options)).await.map_err(failed)? {
            return Err(DbError::TransactionPooler(name));
        }
        // Without the timeouts of the other sessions: a migration may wait for that of another
        // process.
        let first = without_idle_reaper(PgPoolOptions::new())
            .max_connections(1)
            .connect_with(options.clone());
        let first = in_time(CALL, first).await.map_err(failed)?;
        let standby = async { is_standby(&mut *first.acquire().await?).await };
        if in_time(CALL, standby).await.map_err(failed)? {
            return Err(DbError::Standby(name));
        }
        // Read first, so that a role without the right to change the schema can start on a current
        // one.
        let taken = in_time(CALL, taken(&first)).await.map_err(failed)?;
        if schema::needs_migration(&name, &taken, schema::POSTGRES, access)? {
            schema::migrator(schema::POSTGRES)
                .run(&first)
                .await
                .map_err(|reason| DbError::Migrate { path: name.clone(), reason })?;
        }
        close(&first).await;
        let pool = without_idle_reaper(PgPoolOptions::new())
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            // Every test is a round trip. `SQLx` makes one more in the background, after a call.
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                // The server or a firewall may have closed it.
                let is_due = about.idle_for >= IDLE;
                Box::pin(async move { Ok(!is_due || answers(connection).await) })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute(SESSION).await?;
                    if access == Access::Read {
                        connection.execute(READ_ONLY).await?;
                    }
                    // After a failover the address may lead to the former primary.
                    if is_standby(connection).await? {
                        return Err(sqlx::Error::Io(std::io::Error::other(
                            "the server is a standby",
                        )));
                    }
                    Ok(())
                })
            })
            .after_release(|_, about| {
                let is_young = about.age < MAX_CONNECTION_AGE;
                Box::pin(async move { Ok(is_young) })
            });
        let options = Arc::new(options);
        let to = Arc::clone(&options);
        let make = move || pool.clone().connect_lazy_with(PgConnectOptions::clone(&to));
        Ok(Self { pools: Arc::new(Pools::new(make)), options })
    }

    /// The pool; a connection is held for one statement.
    pub fn pool(&self) -> PgPool {
        self.pools.current().pool
    }

    /// A LISTEN connection outside the pool.
    ///
    /// # Errors
    /// When there is no connection.
    pub(crate) async fn listener(&self, channel: &str) -> Result<PgListener, sqlx::Error> {
        let own = without_idle_reaper(PgPoolOptions::new())
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(PgConnectOptions::clone(&self.options));
        let connected = async {
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(channel).await?;
            Ok(listener)
        };
        in_time(CALL, connected).await
    }

    /// Whether a LISTEN connection is still good: one that was idle for long may be half-open.
    ///
    /// # Errors
    /// When there is no response.
    pub(crate) async fn check(&self, listener: &mut PgListener) -> Result<(), sqlx::Error> {
        in_time(ACQUIRE, listener.execute("SELECT 1")).await.map(drop)
    }

    /// Makes a call that must not be repeated.
    ///
    /// # Errors
    /// Its own, or a timeout; then it may have taken effect or not.
    pub(super) async fn once<T, F>(&self, call: impl FnOnce(PgPool) -> F) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let used = self.pools.current();
        let result = in_time(limit(), call(used.pool.clone())).await;
        self.watched(&used, result)
    }

    /// Waits for the statements under way, as long as they may take, and closes all connections.
    pub async fn close(&self) {
        close(&self.pool()).await;
    }

    /// Makes a call and retries it while the connection is lost. Only for calls that may take
    /// effect twice, by dedupe digest or fencing token. The call gets the pool, and whether an
    /// earlier try may have taken effect.
    ///
    /// # Errors
    /// The error of the last try.
    pub async fn retrying<T, F>(
        &self,
        mut call: impl FnMut(PgPool, bool) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let until = tokio::time::Instant::now() + limit();
        let (mut wait, mut again) = (FIRST_WAIT, false);
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let used = self.pools.current();
            let result = in_time(left, call(used.pool.clone(), again)).await;
            let error = match self.watched(&used, result) {
                Err(error) if is_passing(&error) => error,
                result => return result,
            };
            if tokio::time::Instant::now() + wait >= until {
                return Err(error);
            }
            if is_lost(&error) {
                tracing::warn!(%error, "database connection lost during a statement: retrying");
            } else {
                tracing::warn!(%error, "database statement failed for the moment: retrying");
            }
            again = true;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Learns from the result of a call whether connections are dead. The pool returns the same
    /// error when all connections are in use, when they are dead, and when no new one can be
    /// opened.
    fn watched<T>(&self, used: &Used, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let is_without_connection = match &result {
            Err(sqlx::Error::PoolTimedOut) => !is_crowded(&used.pool) || self.pools.are_dead(),
            // Another call has found that its connections are dead.
            Err(sqlx::Error::PoolClosed) => self.pools.is_replaced(used),
            _ => false,
        };
        let not_connected = || sqlx::Error::Io(std::io::ErrorKind::NotConnected.into());
        let result = if is_without_connection { Err(not_connected()) } else { result };
        match &result {
            Err(error) if is_lost(error) => self.pools.lost(used),
            Err(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => {}
            _ => self.pools.succeeded(),
        }
        result
    }

    pub(super) fn name(&self) -> String {
        name(&self.options)
    }

    pub(super) fn failed(&self, error: &sqlx::Error) -> DbError {
        DbError::Open { path: self.name(), reason: reason(error, &self.options) }
    }
}

/// Whether all connections are open and in use.
fn is_crowded(pool: &PgPool) -> bool {
    pool.size() >= pool.options().get_max_connections()
}

/// Whether the same statement may succeed in a moment.
fn is_passing(error: &sqlx::Error) -> bool {
    // Serialisation failure, deadlock, and too many connections.
    is_lost(error) || has_code(error, |code| matches!(code, "40001" | "40P01" | "53300"))
}

/// Whether the connection is lost, or leads to a server that stops, starts or is no longer the
/// primary.
fn is_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
        || has_code(error, |code| {
            code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "25006")
        })
}

fn has_code(error: &sqlx::Error, is: impl Fn(&str) -> bool) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| is(&code))
}

async fn is_standby(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await
}

async fn taken(pool: &PgPool) -> Result<Vec<i64>, sqlx::Error> {
    let exists = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(pool).await? {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(schema::TAKEN).fetch_all(pool).await
}

/// Whether a connection is still good.
async fn answers(connection: &mut PgConnection) -> bool {
    in_time(TEST, connection.ping()).await.is_ok()
}

/// The timeout of a call: what is left of the request's time, if a request waits.
fn limit() -> Duration {
    deadline::remaining().map_or(CALL, |left| left.clamp(LEAST, CALL))
}

/// A timeout around a call: a peer that vanished is waited for without end otherwise.
async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silent = || Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| silent())
}

/// Two connections to Postgres are two sessions; through a pooler in transaction mode one session
/// serves both, or the first one's changes while the second holds it.
async fn is_transaction_pooler(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut one = PgConnection::connect_with(options).await?;
    let mut other = PgConnection::connect_with(options).await?;
    let mut pooled = false;
    // A pooler may use the same session twice by chance.
    for _ in 0..POOLER_TESTS {
        let before = session(&mut one).await?;
        other.execute("BEGIN").await?;
        let meanwhile = session(&mut other).await?;
        // Not asked when the result is known: a pooler with one session would have to wait for the
        // other.
        pooled = before == meanwhile || before != session(&mut one).await?;
        other.execute("COMMIT").await?;
        if pooled {
            break;
        }
    }
    one.close().await?;
    other.close().await?;
    Ok(pooled)
}

/// How many times to test for a pooler.
const POOLER_TESTS: usize = 3;

/// By the simple protocol, which poolers support in every mode.
async fn session(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    use sqlx::Row as _;
    let row = connection.fetch_one("SELECT pg_backend_pid()::text").await?;
    row.try_get(0)
}
