//! The face pipeline on real nets and real photos: stage by stage against an independent reference,
//! then as a whole.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "numbers of a reference file; what was counted is shown"
)]

mod batching;
mod closer;
mod convert;
mod damaged;
mod decoding;
mod golden;
mod odd;
mod operator_pack;
mod pairs;
mod robust;
mod stages;
mod tilted;
mod turned;
mod two_embedders;

use visavis_face::Pipeline;

use crate::support::models::{config, engine_of, packs};

/// Checks it with each installed pack.
fn with_each_engine(check: impl Fn(&mut Pipeline)) {
    for pack in packs() {
        // Shown with a check that fails.
        eprintln!("pack {}", pack.name);
        check(&mut engine_of(&pack, config().image));
    }
}
