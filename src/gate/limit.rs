//! Every limit, and one refusal by it. Result code, metric and the field in the log are made from
//! it; a test compares it with the table in docs/ARCHITECTURE.md.

use std::{num::NonZeroU32, time::Duration};

/// Largest body of a request without pictures, bytes.
pub const SMALL_BODY_BYTES: usize = 64 << 10;

/// A request that met a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which limit.
    pub(crate) limit: Limit,
    /// When another attempt makes sense; `None` when the same request never will.
    pub(crate) retry_after: Option<Duration>,
}

/// Every limit that a request can meet, in the order in which they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests from one address that proved nothing, at most this many in a minute.
    AuthFailures(u32),
    /// Bytes of one body, at most this many.
    BodySize(usize),
    /// The time that a body may take, and the bytes of it that must arrive in a second.
    BodyTime(Duration, u32),
    /// Request bodies in memory.
    Memory,
    /// Requests of the client per second on average, and at once after a pause.
    Rate(NonZeroU32, NonZeroU32),
    /// Bodies of the client that did not decrypt, at most this many in a minute.
    DecryptFailures(u32),
    /// Jobs or bytes in the queue, or the client's share of them.
    Queue,
    /// Comparisons per day of the client.
    Quota(NonZeroU32),
    /// Requests that wait for a compute thread, or the client's share of them.
    WaitingRoom,
    /// Connections to the database.
    Database,
}

/// How long to wait when a limit does not say it: something ends, and there is room again.
const SOON: Duration = Duration::from_secs(1);

impl Limit {
    /// All of them, in their order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 10] = [
        Self::AuthFailures(1),
        Self::BodySize(SMALL_BODY_BYTES),
        Self::BodyTime(SOON, 1),
        Self::Memory,
        Self::Rate(NonZeroU32::MIN, NonZeroU32::MIN),
        Self::DecryptFailures(1),
        Self::Queue,
        Self::Quota(NonZeroU32::MIN),
        Self::WaitingRoom,
        Self::Database,
    ];

    /// A refusal that is worth another attempt soon, or never for what is in the request itself.
    pub(crate) fn refuse(self) -> Refused {
        let retry_after = (!matches!(self, Self::BodySize(_))).then_some(SOON);
        Refused { limit: self, retry_after }
    }

    /// A refusal that is worth another attempt after `wait`.
    pub(crate) fn refuse_for(self, wait: Duration) -> Refused {
        Refused { limit: self, retry_after: Some(wait) }
    }

    /// The value of `reason` in the metric `visavis_refused_total` and of `reason` in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AuthFailures(_) => "auth_failures",
            Self::BodySize(_) => "body_size",
            Self::BodyTime(..) => "body_time",
            Self::Memory => "memory",
            Self::Rate(..) => "rate",
            Self::DecryptFailures(_) => "decrypt_failures",
            Self::Quota(_) => "quota",
            Self::Queue => "queue",
            Self::WaitingRoom => "waiting_room",
            Self::Database => "database",
        }
    }

    /// The result code of the response.
    pub(crate) fn result_code(self) -> &'static str {
        match self {
            Self::BodySize(SMALL_BODY_BYTES) | Self::DecryptFailures(_) => "PARAM_ILLEGAL",
            Self::BodySize(_) => "UNABLE_GET_IMAGE",
            Self::BodyTime(..) => "PROCESS_TIMEOUT",
            Self::AuthFailures(_)
            | Self::Memory
            | Self::Rate(..)
            | Self::Quota(_)
            | Self::Queue
            | Self::WaitingRoom
            | Self::Database => "REQUEST_TRAFFIC_EXCEED_LIMIT",
        }
    }

    /// The message of the response: what is wrong, and what to do.
    pub(crate) fn message(self) -> String {
        match self {
            Self::AuthFailures(limit) => format!(
                "more than {limit} requests from this address failed to authenticate within a \
                 minute; check Client-Id and keys, then try again in a minute"
            ),
            Self::BodySize(SMALL_BODY_BYTES) => {
                format!("the request body has more than {SMALL_BODY_BYTES} bytes")
            }
            Self::BodySize(limit) => {
                format!("IMAGE_CHECK_FAILED: the request body has more than {limit} bytes")
            }
            Self::BodyTime(deadline, least_rate) => {
                let seconds = deadline.as_secs_f64();
                let text = "the request body took too long to arrive; it may take";
                match least_rate {
                    0 => format!("{text} {seconds} seconds"),
                    _ => format!("{text} {seconds} seconds, with {least_rate} bytes in each"),
                }
            }
            Self::Rate(per_second, burst) => format!(
                "this client sends more than {per_second} requests per second, or more than \
                 {burst} at once; try again in a moment"
            ),
            Self::DecryptFailures(limit) => format!(
                "more than {limit} request bodies of this client did not decrypt; encrypted \
                 requests are refused until the minute ends"
            ),
            Self::Quota(quota) => format!(
                "this client has used its {quota} comparisons of today; the next day begins at \
                 midnight UTC"
            ),
            Self::Memory => {
                "the server has no memory free for this request; try again in a moment".to_owned()
            }
            Self::Queue => "the queue is full, or the share of this client in it; try again in a \
                            moment"
                .to_owned(),
            Self::WaitingRoom => "too many comparisons are waiting, or too many of this client; \
                                  try again in a moment"
                .to_owned(),
            Self::Database => {
                "the server has no database connection free; try again in a moment".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_limits_in_their_order_with_their_codes() {
        let text = include_str!("../../docs/ARCHITECTURE.md");
        let table = text.split("## The gate").nth(1).unwrap().split("\n## ").next().unwrap();
        let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        let cells =
            |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let documented: Vec<_> = rows.iter().map(|row| cells(row)[2..4].to_vec()).collect();
        let made = Limit::ALL.map(|limit| {
            [limit.name(), limit.result_code()].map(|text| format!("`{text}`")).to_vec()
        });
        assert_eq!(documented, made);
    }

    /// Does not compile when a limit is added: give it the next number, and add it to `ALL`.
    fn number(limit: Limit) -> usize {
        match limit {
            Limit::AuthFailures(_) => 0,
            Limit::BodySize(_) => 1,
            Limit::BodyTime(..) => 2,
            Limit::Memory => 3,
            Limit::Rate(..) => 4,
            Limit::DecryptFailures(_) => 5,
            Limit::Queue => 6,
            Limit::Quota(_) => 7,
            Limit::WaitingRoom => 8,
            Limit::Database => 9,
        }
    }

    #[test]
    fn the_list_of_limits_is_complete() {
        assert_eq!(Limit::ALL.map(number), std::array::from_fn(|n| n));
    }

    #[test]
    fn only_what_is_in_the_request_itself_is_never_worth_another_attempt() {
        let never = Limit::ALL.into_iter().filter(|limit| limit.refuse().retry_after.is_none());
        assert_eq!(never.collect::<Vec<_>>(), [Limit::BodySize(SMALL_BODY_BYTES)]);
    }
}
