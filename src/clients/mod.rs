//! The apps that may call: their ids, their public keys, and our keys for each of them.

mod keys;
mod registry;
mod shards;
mod sql;
mod store;

pub use keys::{KeySet, NewKeys};
pub use registry::{Caller, ClientRegistry};
pub use shards::{ClientTable, Clients};
pub use store::{
    ClientChange, ClientError, ClientInfo, ClientStore, FmrChange, NewClient, StoredClient,
};
