//! What the tests share: an engine that needs no nets, a whole service in memory, its socket, and
//! looks into its database.

use std::io::Write as _;

mod app;
mod crypto;
mod database;
mod engine;
mod javascript;
pub mod models;
mod postgres;
mod program;
mod wire;

pub use app::{
    Answer, CLIENT, SECRET, TestApp, add_client, merchant, pair, policy, server_key,
    signature_over, signed_as,
};
pub use crypto::{AesKey, header_of, mac};
pub use database::stored;
pub use engine::{FakeEngine, Picture};
pub use javascript::assert_javascript_form;
pub use postgres::{Cluster, as_server_user, cluster, second_cluster};
pub use program::{
    Ran, Run, in_repository, pack_folder, program, runtime_library, visavis, visavis_reading,
    with_models,
};
pub use wire::{Connection, IDLE_DEADLINE, Listening, Reply};

/// Says that something was not tested, where everybody sees it: what a test prints with the usual macros
/// is swallowed as long as it passes.
pub fn left_out(what: &str) {
    // Whoever has closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "\n*** LEFT OUT: {what} ***\n");
}
