//! A comparison for which there is room, within the client's quota of the day.
//!
//! | refused here | costs |
//! | --- | --- |
//! | [`Limit::Queue`] | a look-up in memory; for requests in clear before they are parsed |
//! | [`Limit::Quota`] | three queries |
//! | [`Limit::WaitingRoom`] | a look-up in memory; for requests in clear before they are parsed |

use std::time::Duration;

use super::{limit::Limit, parsed::Parsed, rejection::Rejection, repetitions::Only, state::Gate};
use crate::{
    clients::Caller,
    clock::UnixMillis,
    compare::{Request, TransactionId},
    queue::Shard,
};

/// A comparison that may be made, counted against the client's quota.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// What is asked for.
    pub(crate) parsed: Parsed<Request>,
    /// The transaction of an earlier request with the same signature, which was counted then. Not
    /// looked up for a job that is not counted: the queue finds it.
    pub(crate) earlier: Option<TransactionId>,
    counted_on: Option<i64>,
    shard: u32,
    /// Repetitions that arrive meanwhile wait.
    _only: Option<Only>,
}

/// What a comparison needs room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The queue of its database.
    Queue,
    /// Nothing that is known before it is made.
    None,
}

impl Gate {
    /// Whether there is room for another job of the client in the queue of a database, or the
    /// request with this digest repeats a stored one.
    ///
    /// # Errors
    /// [`Limit::Queue`], or a failure of the database.
    pub(crate) async fn check_queue(
        &self,
        shard: &Shard,
        caller: &Caller,
        dedupe: &[u8; 32],
    ) -> Result<(), Rejection> {
        let is_alone = self.0.clients.is_alone(shard.number).await?;
        if shard.admission.has_room(self.0.config.queue, &caller.client_id, is_alone)
            || self.earlier(shard, dedupe).await?.is_some()
        {
            Ok(())
        } else {
            Err(Limit::Queue.refuse().into())
        }
    }

    /// The transaction of an earlier request with this digest.
    ///
    /// # Errors
    /// A failure of the database.
    pub(crate) async fn earlier(
        &self,
        shard: &Shard,
        dedupe: &[u8; 32],
    ) -> Result<Option<TransactionId>, Rejection> {
        if !self.0.config.dedupe {
            return Ok(None);
        }
        Ok(shard.store.find_duplicate(dedupe).await?)
    }

    /// The digest that is stored with a transaction, if repetitions are to find it.
    pub(crate) fn stored_dedupe(&self, dedupe: [u8; 32]) -> Option<[u8; 32]> {
        self.0.config.dedupe.then_some(dedupe)
    }
}

impl Parsed<Request> {
    /// Admits a comparison and counts it. A repetition of a signed request is not another
    /// comparison, and needs no room.
    ///
    /// # Errors
    /// [`Limit::Queue`] or [`Limit::Quota`], or a failure of the database.
    pub(crate) async fn admit(self, shard: &Shard, room: Room) -> Result<Admitted, Rejection> {
        let gate = self.gate.clone();
        let only = if gate.0.config.dedupe {
            Some(gate.0.repetitions.enter(self.dedupe).await)
        } else {
            None
        };
        let quota = self.caller.client.policy.daily_quota;
        let earlier = if room == Room::None || quota.is_some() {
            gate.earlier(shard, &self.dedupe).await?
        } else {
            None
        };
        let mut admitted =
            Admitted { earlier, counted_on: None, shard: shard.number, _only: only, parsed: self };
        if admitted.earlier.is_some() {
            return Ok(admitted);
        }
        let caller = &admitted.parsed.caller;
        if room == Room::Queue {
            gate.check_queue(shard, caller, &admitted.parsed.dedupe).await?;
        }
        let Some(quota) = quota else { return Ok(admitted) };
        let client_id = &caller.client_id;
        let counted = gate.0.clients.count_comparison(shard.number, client_id, quota).await?;
        if counted.is_none() {
            // Another process may be at a repetition of it.
            admitted.earlier = gate.earlier(shard, &admitted.parsed.dedupe).await?;
            if admitted.earlier.is_none() {
                let wait = until_midnight(gate.0.clock.now());
                return Err(Limit::Quota(quota).refuse_for(wait).into());
            }
        }
        admitted.counted_on = counted;
        Ok(admitted)
    }
}

/// Until the next day begins, UTC.
fn until_midnight(now: UnixMillis) -> Duration {
    const DAY_MS: i64 = 86_400_000;
    Duration::from_millis(u64::try_from(DAY_MS - now.rem_euclid(DAY_MS)).unwrap_or_default())
}

impl Admitted {
    /// Takes the comparison off the client's quota again: it was not made.
    pub(crate) async fn uncount(&self) {
        let Some(day) = self.counted_on else { return };
        let (gate, client_id) = (&self.parsed.gate, &self.parsed.caller.client_id);
        let uncounted = gate.0.clients.uncount_comparison(self.shard, client_id, day).await;
        if let Err(error) = uncounted {
            tracing::warn!(client = client_id, %error, "a comparison that was not made stays \
                counted");
        }
    }
}
