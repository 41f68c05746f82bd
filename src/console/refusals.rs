//! Refused logins and refused requests: each is a line of the log, and an audit event as long as
//! they are few. Senders who have proven nothing must not fill the audit: beyond some per minute
//! only their number is recorded.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::time::Instant;

use super::{
    Console, Shared,
    audit::{AuditEvent, audit},
    steps::Step,
};
use crate::clients::{ActOutcome, Actor};

/// Refusals per minute that are audit events of their own.
const MAX_RECORDED: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);

/// What was refused.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused<'a> {
    /// A login with a wrong password, one-time code or token.
    Login,
    /// A login at a provider.
    AtProvider {
        /// Why: the code of the error.
        reason: &'static str,
        /// The identifier of the person there, if it is known.
        subject: Option<&'a str>,
    },
    /// A login that was not checked, after too many wrong ones.
    HeldBack,
    /// A request beyond the rights of the login.
    Step(Step),
}

/// The refusals of the current minute.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Option<Window>>);

#[derive(Debug)]
struct Window {
    began: Instant,
    recorded: u32,
    left_out: u32,
}

/// What to do about a refusal.
#[derive(Debug, PartialEq, Eq)]
enum Counted {
    Record,
    /// Only counted; the first of its minute has the number recorded when the minute ends.
    LeaveOut {
        is_first: bool,
    },
}

impl Refusals {
    fn count(&self, now: Instant) -> Counted {
        let mut window = self.window();
        // A window with refusals that were left out is closed by what records their number.
        let is_over = |w: &Window| now.duration_since(w.began) >= WINDOW && w.left_out == 0;
        if window.as_ref().is_none_or(is_over) {
            *window = Some(Window { began: now, recorded: 0, left_out: 0 });
        }
        match &mut *window {
            Some(window) if window.recorded >= MAX_RECORDED => {
                window.left_out = window.left_out.saturating_add(1);
                Counted::LeaveOut { is_first: window.left_out == 1 }
            }
            Some(window) => {
                window.recorded += 1;
                Counted::Record
            }
            None => Counted::Record,
        }
    }

    /// Closes the window; returns how many were left out.
    fn close(&self) -> u32 {
        self.window().take().map_or(0, |window| window.left_out)
    }

    fn window(&self) -> MutexGuard<'_, Option<Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Logs and audits a refusal. A failure of the audit is logged: the request is refused anyway.
    pub(super) async fn refuse(self: &Shared, refused: Refused<'_>, actor: &Actor, name: &str) {
        let (event, act) = match refused {
            Refused::Login | Refused::AtProvider { .. } => {
                (AuditEvent::LoginRefused, "login refused")
            }
            Refused::HeldBack => (AuditEvent::LoginHeldBack, "login refused"),
            Refused::Step(_) => (AuditEvent::StepRefused, "step refused"),
        };
        audit(name, &event);
        let detail = match refused {
            Refused::Login => json!({}),
            Refused::AtProvider { reason, subject } => {
                json!({ "reason": reason, "subject": subject })
            }
            Refused::HeldBack => json!({ "heldBack": true }),
            Refused::Step(step) => json!({ "step": step }),
        };
        match self.refusals.count(Instant::now()) {
            Counted::Record => self.record_refusal(act, actor, name, &detail).await,
            Counted::LeaveOut { is_first: true } => {
                let console = Shared::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(WINDOW).await;
                    let detail = json!({ "further": console.refusals.close() });
                    let actor = Actor::unproven("", None);
                    console.record_refusal("refusals", &actor, "", &detail).await;
                });
            }
            Counted::LeaveOut { is_first: false } => {}
        }
    }

    async fn record_refusal(
        &self,
        act: &'static str,
        actor: &Actor,
        name: &str,
        detail: &serde_json::Value,
    ) {
        let Ok(accounts) = self.accounts() else { return };
        let accounts = accounts.with_actor(actor.clone());
        let recorded = accounts.record(act, name, ActOutcome::Refused, detail).await;
        if let Err(error) = recorded {
            tracing::error!(%error, act, "cannot record an audit event of the console");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_ten_a_minute_refusals_are_only_counted() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for _ in 0..MAX_RECORDED {
            assert_eq!(refusals.count(now), Counted::Record);
        }
        assert_eq!(refusals.count(now), Counted::LeaveOut { is_first: true });
        assert_eq!(refusals.count(now + WINDOW), Counted::LeaveOut { is_first: false });
        assert_eq!(refusals.close(), 2);
        assert_eq!(refusals.count(now + WINDOW), Counted::Record);
        for n in 1..100 {
            assert_eq!(refusals.count(now + n * 2 * WINDOW), Counted::Record, "one in two minutes");
        }
    }
}
