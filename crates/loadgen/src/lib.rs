//! The load generator behind `visavis bench`. No common tool can sign each request.
//!
//! ```text
//! Photos ─ Stock: requests signed ahead by one thread ─ Load: senders ─ Target: one exchange each
//!                                                         │ Tally of each slice
//!                 floor: the bare pipeline, in turn ──────┴─▶ Report
//! ```

mod client;
mod exchange;
mod floor;
mod load;
mod photos;
mod report;
mod run;
mod stock;
mod stop;
#[cfg(test)]
mod testing;
mod usage;

pub use client::{
    ApiClient, Body, MAX_CONNECTIONS, Protection, SignedRequest, Signer, VerifiedResponse,
};
pub use exchange::{Mode, Target};
pub use floor::ComparePair;
pub use photos::Photos;
pub use report::Report;
pub use run::{Plan, Run};
pub use stop::Stop;
pub use usage::Process;
