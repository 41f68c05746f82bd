//! A private Postgres, as the tests have it.
#![allow(dead_code, reason = "only a part of it is used here")]

#[path = "../../tests/it/support/postgres.rs"]
mod postgres;

pub(crate) use postgres::Cluster;
