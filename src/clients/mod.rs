//! The registered apps: their ids, their public keys, and our keys for each of them.

mod audit;
mod audit_filter;
mod audit_store;
mod chain;
mod changes;
mod client;
mod credentials;
mod delete;
mod error;
mod expired;
mod keys;
mod mac;
mod name;
mod policy;
mod quota;
mod registry;
mod reseal;
mod rows;
mod shards;
mod store;
mod trust;
mod usage;

pub use audit::{ActOutcome, Actor, AuditEntry, Proof};
pub use audit_filter::{AuditCursor, AuditFilter, AuditPage};
pub(crate) use audit_filter::{ShownEntry, audit_csv, iso_time};
pub(crate) use audit_store::append;
pub use chain::{AuditBreak, AuditEnd};
pub use client::{ClientChange, ClientInfo, FmrChange, NewClient, StoredClient};
pub use credentials::{CONSOLE, MadeKeys, new_client_id};
pub use error::ClientError;
pub use keys::{KeySet, NewKeys};
pub use name::{check_name, printable};
pub use policy::{ClientPolicy, Encryption, Modes, PolicyChange};
pub use registry::{Caller, ClientRegistry};
pub use shards::{ClientTable, Clients};
pub use store::ClientStore;
