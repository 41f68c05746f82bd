//! Visavis: a self-hosted, drop-in replacement for the ZOLOZ Face Compare API.
//!
//! The service. What it is made of and does not need HTTP, SQL or tokio is in crates of its own:
//!
//! | crate | is for |
//! | --- | --- |
//! | [`visavis_face`] | two pictures in, one similarity out: plain CPU code |
//! | [`visavis_signing`] | the gateway's signatures and encryption: bytes in, verdict out |
//! | [`visavis_convert`] | publishers' model files to ONNX |
//! | [`visavis_evaluate`] | error rates, calibration tables, reports |
//! | [`visavis_loadgen`] | the load generator behind `visavis bench` |
//!
//! The modules of the service import each other in one direction, which `tests/architecture.rs`
//! checks:
//!
//! | module | is for |
//! | --- | --- |
//! | [`models`] | model packs as files: fetching, checking, converting |
//! | [`compare`] | domain types: request, outcome, decision |
//! | [`sealing`] | encryption at rest |
//! | [`clients`] | registered clients and their keys |
//! | [`accounts`] | the people who use the console |
//! | [`queue`] | the job table: claim, lease, fencing token |
//! | [`worker`] | compute threads and the loop that feeds them |
//! | [`gate`] | authentication and every limit on requests |
//! | [`http`] | routes and responses |
//! | [`console`] | the page for operators |
//! | [`config`], [`db`], [`clock`], [`shutdown`], [`supervisor`], [`telemetry`] | common to all |
//! | [`app`], [`cli`] | wiring |
//!
//! A request comes in through [`http`]: the caller is looked up in [`clients`], the signature
//! checked by [`visavis_signing`] over the raw bytes, the body parsed into a [`compare::Request`]
//! and stored by [`queue`] with its pictures sealed. A runner of [`worker`] claims it, a compute
//! thread takes it through [`visavis_face`], the outcome is written where the lease still holds,
//! and the pictures are deleted in the same statement. `asynccheckresult` reads the row.
//! `docs/ARCHITECTURE.md` follows one request step by step.

pub mod accounts;
pub mod app;
mod bearer;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod compare;
pub mod config;
pub mod console;
mod csv;
pub mod db;
mod deadline;
pub mod gate;
pub mod http;
pub mod models;
pub mod oidc;
mod outgoing;
mod private_file;
pub mod queue;
pub mod sealing;
mod secret;
pub mod shutdown;
pub mod supervisor;
pub mod telemetry;
pub mod worker;
