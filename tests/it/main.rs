//! The real router, the real queue and the real worker, driven from outside; one binary, so that
//! everything is linked once.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first broken assumption")]
#![expect(unreachable_pub, reason = "nothing outside sees these modules")]

mod access_key;
mod admission;
mod answers;
mod bad_body;
mod bad_head;
mod bench;
mod build_context;
mod captured;
mod care;
mod cli;
mod cli_models;
mod client_store;
mod console;
mod crash;
mod deploy;
mod disk;
mod encrypted;
mod evaluate;
mod examples;
mod faces;
mod gate;
mod gpu;
mod javascript;
mod log;
mod main_path;
mod manual;
mod metrics;
mod migrations;
mod moving;
mod nodes;
mod noise;
mod nothing_leaves;
mod openapi;
mod overload;
mod packages;
mod pages;
mod pixels;
mod rotation;
mod serve;
mod setup;
mod socket;
mod store;
mod strict_clients;
mod supervised;
mod support;
mod terms;
mod thresholds;
mod torture;
mod traces;
mod transport;
mod upgrade;
mod worker;
mod workflows;
