//! Shared with the other tests: a private Postgres, and an engine that needs no nets.
#![allow(dead_code, reason = "only a part of it is used here")]

#[path = "../../it/support/clock.rs"]
mod clock;
#[path = "../../it/support/disk.rs"]
mod disk;
#[path = "../../it/support/engine.rs"]
mod engine;
#[path = "../../it/support/postgres.rs"]
mod postgres;

use std::sync::OnceLock;

pub use clock::Hands;
pub use disk::Disk;
pub use engine::{FakeEngine, Picture};
use postgres::Cluster;

/// The server of this run, whose clock can be set where libfaketime is installed.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let variables = hands().map(Hands::variables).unwrap_or_default();
        Cluster::under(variables)
    })
}

/// It ends as in a crash, with all its sessions, and comes back from its log.
pub fn restart() {
    cluster().stop_at_once();
    cluster().start_again();
}

/// The hands of its clock.
pub fn hands() -> Option<&'static Hands> {
    static HANDS: OnceLock<Option<Hands>> = OnceLock::new();
    let hands = HANDS.get_or_init(|| {
        // The server has another user.
        let folder = tempfile::Builder::new().prefix("visavis-clock-").tempdir().unwrap().keep();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&folder, open).unwrap();
        Hands::new(&folder)
    });
    hands.as_ref()
}
