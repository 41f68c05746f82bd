//! What the tests share: an engine that needs no nets, and a whole service in memory.

mod app;
mod engine;
pub mod models;

pub use app::{Answer, CLIENT, TestApp, add_client, merchant, pair, policy};
pub use engine::{FakeEngine, Picture};
