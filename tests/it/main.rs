//! The real router, the real queue and the real worker, driven from outside; one binary, so that
//! everything is linked once.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first broken assumption")]
#![expect(
    unreachable_pub,
    missing_debug_implementations,
    reason = "nothing outside sees these modules"
)]

mod crash;
mod main_path;
mod store;
mod support;
mod worker;
