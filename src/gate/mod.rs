//! Every limit on what a request may make us spend, in one place and one order.
//!
//! ```text
//! connection ─ Arrived ─ Identified ─ Proven ─ Parsed ─ Admitted
//! ```
//!
//! Each state is a type, so a handler says by its argument how far a request must have come, and
//! the compiler holds that. What is unproven costs its sender more than us. docs/ARCHITECTURE.md
//! has the order with what each refusal costs.

mod admitted;
mod arrived;
mod body;
mod connections;
mod decrypt_failures;
mod head;
mod identified;
mod idle;
mod limit;
mod memory;
mod offload;
mod parsed;
mod peers;
mod proven;
mod rates;
mod rejection;
mod repetitions;
mod reply;
mod signature_fault;
mod state;
mod turns;
mod window;

#[cfg(test)]
pub(crate) use self::signature_fault::SignatureFault;
pub(crate) use self::{
    admitted::{Admitted, Room},
    arrived::Arrived,
    body::announced_length,
    connections::Connections,
    head::{Head, Scheme, candidates, single},
    identified::Identified,
    parsed::{Cost, NotAnObject, Parsed, open},
    peers::{Peers, contain},
    proven::Proven,
    rejection::Rejection,
};
pub use self::{
    connections::ConnectionLimits,
    limit::{Limit, Refused, SMALL_BODY_BYTES},
    peers::Network,
    rates::ClientRate,
    state::{Gate, GateConfig},
    turns::{Full, Participant, Slot, Turns},
};
