//! What a login leaves behind: wrong ones lock the account for some minutes, a right one ends that.

use super::{error::AccountError, store::AccountStore, user::User};
use crate::clock::UnixMillis;

/// Wrong logins in a row that do not lock an account.
const FREE_FAILURES: i64 = 4;
const FIRST_LOCK_MS: i64 = 60_000;
/// Each further wrong login doubles the lock, up to this.
const MAX_LOCK_MS: i64 = 15 * 60_000;

impl User {
    /// Whether logins from there are refused now, whatever the password. A lock ends by itself, is
    /// not extended by what it refuses, and leaves out the address of the last login, so that
    /// attackers elsewhere do not lock out the user.
    pub(crate) fn is_locked(&self, from: Option<&str>, now: UnixMillis) -> bool {
        // A clock that was set back locks no user out.
        let is_locked = (1..=MAX_LOCK_MS).contains(&(self.locked_until - now));
        is_locked && (from.is_none() || from != self.last_login_from.as_deref())
    }
}

fn lock_ms(failures: i64) -> i64 {
    match failures - FREE_FAILURES - 1 {
        ..0 => 0,
        doublings => FIRST_LOCK_MS.saturating_mul(1 << doublings.min(10)).min(MAX_LOCK_MS),
    }
}

impl AccountStore {
    /// Counts a wrong login; whether the account is locked now.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn login_failed(&self, user: &User, now: UnixMillis) -> Result<bool, AccountError> {
        let count = self.0.db.write_once(
            "console_login_failed",
            "UPDATE console_user SET failures = failures + 1 WHERE id = $1 RETURNING failures",
        );
        let failures = count.bind(user.id.as_str()).optional(|row| row.get::<i64>("failures"));
        let lock_ms = lock_ms(failures.await?.unwrap_or_default());
        if lock_ms == 0 {
            return Ok(false);
        }
        let lock = self
            .0
            .db
            .write("console_user_lock", "UPDATE console_user SET locked_until = $2 WHERE id = $1");
        lock.bind(user.id.as_str()).bind(now.saturating_add(lock_ms)).run().await?;
        Ok(true)
    }

    /// Records a right login; `false` when its code was used before.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn logged_in(
        &self,
        user: &User,
        code_step: Option<i64>,
        from: Option<&str>,
        now: UnixMillis,
    ) -> Result<bool, AccountError> {
        let login = self.0.db.write_once(
            "console_logged_in",
            "UPDATE console_user SET failures = 0, locked_until = 0, last_login_at = $2,
                 last_login_from = $3, code_step = coalesce($4, code_step)
             WHERE id = $1 AND ($4 IS NULL OR code_step < $4)",
        );
        let login = login.bind(user.id.as_str()).bind(now).bind(from).bind(code_step);
        Ok(login.run().await? > 0)
    }

    /// The time step of a code, if it is one of the user's that is valid now.
    ///
    /// # Errors
    /// [`AccountError::Seal`].
    pub(crate) fn code_step(
        &self,
        user: &User,
        code: &str,
        now: UnixMillis,
    ) -> Result<Option<i64>, AccountError> {
        let Some(sealed) = &user.code_key else { return Ok(None) };
        Ok(self.open_code(user, sealed)?.step_of(code, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_doubles_up_to_a_quarter_of_an_hour() {
        let minutes = [0, 4, 5, 6, 7, 8, 9, 100, i64::MAX].map(|n| lock_ms(n) / 60_000);
        assert_eq!(minutes, [0, 0, 1, 2, 4, 8, 15, 15, 15]);
    }
}
