//! Who is logged in, in memory: a restart ends all of it.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::token::{Digest, is_token, random_text, sha256};

/// A login without activity expires after this time,
const IDLE_TIMEOUT: Duration = Duration::from_mins(30);
/// and every login after this time.
pub(super) const MAX_LOGIN_TIME: Duration = Duration::from_hours(8);
/// Logins at once; above that the one that was idle longest ends.
const MAX_LOGINS: usize = 64;
/// Wrong tokens per minute, from all addresses together; further ones get another response.
const MAX_WRONG: usize = 5;
const WRONG_WINDOW: Duration = Duration::from_mins(1);

/// The logins of this process, by the digest of what their cookies hold.
#[derive(Debug, Default)]
pub(super) struct Logins {
    open: Mutex<HashMap<Digest, Login>>,
    wrong: Mutex<VecDeque<Instant>>,
}

#[derive(Debug)]
struct Login {
    begun: Instant,
    seen: Instant,
    /// The digest of its token: a new token ends the login.
    token: Digest,
}

/// The result of an attempt to log in.
pub(super) enum Attempt {
    /// For the cookie.
    Opened(Zeroizing<String>),
    /// It was another token.
    Wrong,
    /// It was another token, after too many others.
    TooMany,
}

impl Logins {
    /// Opens a login for the right token, after any number of failed attempts: 256 bits cannot be
    /// guessed, and an attacker who sends wrong tokens must not lock out operators.
    pub(super) fn attempt(&self, token: &str, good: &Digest, now: Instant) -> io::Result<Attempt> {
        if !is_token(token, good) {
            return Ok(self.refuse(now));
        }
        let cookie = random_text()?;
        let mut open = self.open();
        open.retain(|_, login| login.is_good(good, now));
        if open.len() >= MAX_LOGINS
            && let Some(stalest) = open.iter().min_by_key(|(_, login)| login.seen).map(|(k, _)| *k)
        {
            open.remove(&stalest);
        }
        open.insert(sha256(&cookie), Login { begun: now, seen: now, token: *good });
        Ok(Attempt::Opened(cookie))
    }

    /// Counts a wrong token.
    fn refuse(&self, now: Instant) -> Attempt {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        while wrong.front().is_some_and(|then| now.duration_since(*then) >= WRONG_WINDOW) {
            wrong.pop_front();
        }
        if wrong.len() >= MAX_WRONG {
            return Attempt::TooMany;
        }
        wrong.push_back(now);
        Attempt::Wrong
    }

    /// Whether a cookie belongs to a login. An action of the operator extends the login, polling
    /// does not.
    pub(super) fn holds(
        &self,
        cookie: &str,
        good: &Digest,
        is_polling: bool,
        now: Instant,
    ) -> bool {
        let mut open = self.open();
        let Some(login) = open.get_mut(&sha256(cookie)).filter(|login| login.is_good(good, now))
        else {
            return false;
        };
        if !is_polling {
            login.seen = now;
        }
        true
    }

    /// Ends a login.
    pub(super) fn close(&self, cookie: &str) {
        self.open().remove(&sha256(cookie));
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Digest, Login>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    fn is_good(&self, good: &Digest, now: Instant) -> bool {
        self.token == *good
            && now.duration_since(self.seen) < IDLE_TIMEOUT
            && now.duration_since(self.begun) < MAX_LOGIN_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(logins: &Logins, now: Instant) -> Zeroizing<String> {
        match logins.attempt("right", &sha256("right"), now).unwrap() {
            Attempt::Opened(cookie) => cookie,
            Attempt::Wrong | Attempt::TooMany => panic!("the token is right"),
        }
    }

    #[test]
    fn a_login_ends_when_nothing_is_done_or_the_day_is_over_or_the_token_is_another() {
        let (logins, good, now) = (Logins::default(), sha256("right"), Instant::now());
        let cookie = opened(&logins, now);
        let after = |minutes: u64| now + Duration::from_mins(minutes);
        assert!(logins.holds(&cookie, &good, false, after(29)));
        assert!(logins.holds(&cookie, &good, true, after(58)));
        assert!(!logins.holds(&cookie, &good, false, after(60)), "polling keeps nothing open");
        let cookie = opened(&logins, now);
        assert!((1..=23).all(|n| logins.holds(&cookie, &good, false, after(20 * n))));
        assert!(!logins.holds(&cookie, &good, false, after(480)));
        let cookie = opened(&logins, now);
        assert!(!logins.holds(&cookie, &sha256("new"), false, now));
        assert!(!logins.holds("", &good, false, now));
        logins.close(&cookie);
        assert!(!logins.holds(&cookie, &good, false, now));
    }

    #[test]
    fn after_five_wrong_tokens_in_a_minute_others_are_held_back_and_the_right_one_is_not() {
        let (logins, good, now) = (Logins::default(), sha256("right"), Instant::now());
        for _ in 0..MAX_WRONG {
            assert!(matches!(logins.attempt("wrong", &good, now), Ok(Attempt::Wrong)));
        }
        assert!(matches!(logins.attempt("wrong", &good, now), Ok(Attempt::TooMany)));
        assert!(matches!(logins.attempt("right", &good, now), Ok(Attempt::Opened(_))));
        assert!(matches!(logins.attempt("wrong", &good, now), Ok(Attempt::TooMany)));
        let later = now + WRONG_WINDOW;
        assert!(matches!(logins.attempt("wrong", &good, later), Ok(Attempt::Wrong)));
    }

    #[test]
    fn however_many_log_in_not_more_than_so_many_are_kept() {
        let (logins, now) = (Logins::default(), Instant::now());
        let first = opened(&logins, now);
        for n in 0..100 {
            opened(&logins, now + Duration::from_secs(n));
        }
        assert_eq!(logins.open().len(), MAX_LOGINS);
        assert!(!logins.holds(&first, &sha256("right"), false, now + Duration::from_secs(100)));
    }
}
