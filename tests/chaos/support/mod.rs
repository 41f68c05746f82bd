//! Shared with the other tests: a private Postgres, and an engine that needs no nets.
#![allow(dead_code, reason = "only a part of it is used here")]

#[path = "../../it/support/engine.rs"]
mod engine;
#[path = "../../it/support/postgres.rs"]
mod postgres;

pub use engine::{FakeEngine, Picture};
pub use postgres::{as_server_user, binaries, cluster};
