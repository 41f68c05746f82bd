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
mod golden;
mod odd;
mod operator_pack;
mod pairs;
mod robust;
mod stages;
mod turned;
