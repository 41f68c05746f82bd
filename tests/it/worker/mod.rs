//! The real runner and the real compute threads, with an engine that waits at a gate.

mod claims;
mod failing;
mod gate;
mod local;
mod rig;
mod running;
mod stopping;
