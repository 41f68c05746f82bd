//! Checking passwords and one-time codes, within bounds on what a wrong one costs.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{Console, Shared, error::ConsoleError, refusals::Refused};
use crate::{
    accounts::{HASH_BYTES, PasswordHash, User, check_password},
    clients::{Actor, Proof},
};

/// Passwords that are hashed at once.
const MAX_HASHING: usize = 2;
/// How long a login waits for others.
const PATIENCE: Duration = Duration::from_secs(3);

/// Passwords that may be hashed now.
#[derive(Debug)]
pub(super) struct Hashing(Semaphore);

impl Default for Hashing {
    fn default() -> Self {
        Self(Semaphore::new(MAX_HASHING))
    }
}

impl Console {
    /// Hashes outside of the threads that serve connections, some at once, with memory of the
    /// budget for request bodies.
    pub(super) async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ConsoleError> {
        let permit = timeout(PATIENCE, self.hashing.0.acquire()).await;
        let _permit = permit.map_err(|_| ConsoleError::Busy)?.map_err(|_| ConsoleError::Busy)?;
        let app = &self.parts.app;
        let bytes = HASH_BYTES.min(app.config.gate.body_budget);
        let _lease = app.gate.lease(bytes).await.map_err(|_| ConsoleError::Busy)?;
        spawn_blocking(work).await.map_err(|e| ConsoleError::internal(&e))
    }

    /// Checks and hashes a new password of the user `name`.
    ///
    /// # Errors
    /// The rule that it breaks, or a failure.
    pub(super) async fn new_password(
        &self,
        password: String,
        name: &str,
    ) -> Result<PasswordHash, ConsoleError> {
        check_password(&password, name)?;
        Ok(self.hash(move || PasswordHash::new(&password)).await??)
    }

    /// Whether the address has sent too many wrong logins in this minute.
    pub(super) fn is_held_back(&self, from: Option<IpAddr>) -> bool {
        self.wrong.held_back(counted(from), self.parts.app.clock.now()).is_some()
    }

    /// Counts a wrong login of an address.
    pub(super) fn count_wrong(&self, from: Option<IpAddr>) {
        self.wrong.failed(counted(from), self.parts.app.clock.now());
    }

    /// Checks a password. Without a user it takes as long and is wrong.
    ///
    /// # Errors
    /// [`ConsoleError::WrongPassword`], [`ConsoleError::TooManyLogins`], or a failure.
    pub(super) async fn prove_password(
        self: &Shared,
        user: Option<&User>,
        password: String,
        from: Option<IpAddr>,
    ) -> Result<(), ConsoleError> {
        let name = user.map_or("", |user| user.name.as_str());
        let address = from.map(|from| from.to_string());
        let now = self.parts.app.clock.now();
        let is_locked = user.is_some_and(|user| user.is_locked(address.as_deref(), now));
        if is_locked || self.is_held_back(from) {
            self.refuse(Refused::HeldBack, &Actor::unproven(name, from), name).await;
            return Err(ConsoleError::TooManyLogins);
        }
        let stored = user.map(|user| user.password.clone());
        let is_right =
            self.hash(move || stored.unwrap_or_else(PasswordHash::absent).is_of(&password));
        let is_right = is_right.await? && user.is_some_and(User::is_enabled);
        if is_right {
            return Ok(());
        }
        self.count_login(user, from).await?;
        Err(ConsoleError::WrongPassword)
    }

    /// Checks the one-time code of a user whose password was right, and records the login.
    ///
    /// # Errors
    /// [`ConsoleError::CodeNeeded`], [`ConsoleError::WrongCode`], or a failure.
    pub(super) async fn prove_code(
        self: &Shared,
        user: &User,
        code: &str,
        from: Option<IpAddr>,
    ) -> Result<Proof, ConsoleError> {
        let accounts = self.accounts()?;
        let now = self.parts.app.clock.now();
        let (step, proof) = if user.has_code() {
            if code.trim().is_empty() {
                return Err(ConsoleError::CodeNeeded);
            }
            let Some(step) = accounts.code_step(user, code, now)? else {
                self.count_login(Some(user), from).await?;
                return Err(ConsoleError::WrongCode);
            };
            (Some(step), Proof::PasswordAndCode)
        } else {
            (None, Proof::Password)
        };
        let address = from.map(|from| from.to_string());
        if accounts.logged_in(user, step, address.as_deref(), now).await? {
            return Ok(proof);
        }
        // It was used before.
        self.count_login(Some(user), from).await?;
        Err(ConsoleError::WrongCode)
    }

    /// Counts and audits a wrong login.
    async fn count_login(
        self: &Shared,
        user: Option<&User>,
        from: Option<IpAddr>,
    ) -> Result<(), ConsoleError> {
        self.count_wrong(from);
        if let Some(user) = user {
            self.accounts()?.login_failed(user, self.parts.app.clock.now()).await?;
        }
        // What was given as a name without an account may be a password.
        let name = user.map_or("", |user| user.name.as_str());
        self.refuse(Refused::Login, &Actor::unproven(name, from), name).await;
        Ok(())
    }
}

/// Requests without an address, in tests, count as those of one.
pub(super) fn counted(from: Option<IpAddr>) -> IpAddr {
    from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
