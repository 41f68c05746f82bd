//! Passwords: the rules for new ones, and their hashes.

use std::{fmt, sync::LazyLock};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, PasswordVerifier as _},
};
use aws_lc_rs::rand;

use super::error::AccountError;

/// Memory that one computation takes, bytes.
pub(crate) const HASH_BYTES: usize = Params::DEFAULT_M_COST as usize * 1_024;
const MIN_PASSWORD_CHARS: usize = 12;
const MAX_PASSWORD_BYTES: usize = 256;
const SALT_BYTES: usize = 16;

/// The Argon2id hash of a password, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub(super) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Hashes a password. Takes [`HASH_BYTES`] of memory and tens of milliseconds.
    ///
    /// # Errors
    /// [`AccountError::Random`] or [`AccountError::Hash`].
    pub fn new(password: &str) -> Result<Self, AccountError> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| AccountError::Random)?;
        let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| Self(hash.to_string())).map_err(|e| AccountError::Hash(e.to_string()))
    }

    /// Whether this is the hash of `password`. Takes as much as [`new`](Self::new).
    pub(crate) fn is_of(&self, password: &str) -> bool {
        Argon2::default().verify_password(password.as_bytes(), self.0.as_str()).is_ok()
    }

    /// The hash of a password that is nowhere stored, for names without an account: they take as
    /// long as others.
    pub(crate) fn absent() -> Self {
        static HASH: LazyLock<String> =
            LazyLock::new(|| PasswordHash::new("").map(|hash| hash.0).unwrap_or_default());
        Self(HASH.clone())
    }
}

/// Checks a new password of the user `name`.
///
/// # Errors
/// [`AccountError::PasswordUnfit`].
pub(crate) fn check_password(password: &str, name: &str) -> Result<(), AccountError> {
    let unfit = |reason| Err(AccountError::PasswordUnfit(reason));
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return unfit("the password is too short: give one of at least 12 characters");
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return unfit("the password is too long: give one of at most 256 bytes");
    }
    if password.to_lowercase() == name.to_lowercase() {
        return unfit("the password is the name of the user: give another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_holds_for_its_password_alone_and_has_a_salt_of_its_own() {
        let (one, other) =
            (PasswordHash::new("right").unwrap(), PasswordHash::new("right").unwrap());
        assert!(one.is_of("right") && other.is_of("right") && one != other);
        assert!(!one.is_of("wrong") && !one.is_of(""));
        assert!(one.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.0);
        assert!(!PasswordHash(String::new()).is_of(""));
        assert_eq!(format!("{one:?}"), "PasswordHash");
    }

    #[test]
    fn a_password_has_twelve_characters_and_is_not_the_name() {
        assert!(check_password("äöüßäöüßäöüß", "a").is_ok());
        for (password, name) in [
            ("eleven char", "a"),
            ("", "a"),
            (&"x".repeat(257), "a"),
            ("An Operator 1", "an operator 1"),
        ] {
            assert!(check_password(password, name).is_err(), "{password}");
        }
    }
}
