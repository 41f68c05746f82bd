//! A workaround for pools of connections.

/// Workaround for `SQLx` 0.9: its counter of idle connections can underflow when a connection is
/// taken while it is being returned, and the reaper then spins.
/// <https://github.com/launchbadge/sqlx/issues/3645>
pub fn without_idle_reaper<DB: sqlx::Database>(
    options: sqlx::pool::PoolOptions<DB>,
) -> sqlx::pool::PoolOptions<DB> {
    options.max_lifetime(None).idle_timeout(None)
}
