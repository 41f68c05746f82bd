//! The apps that may call: their ids, their public keys, and our keys for each of them.

mod credentials;
mod keys;
mod registry;
mod shards;
mod sql;
mod store;

pub use credentials::{CONSOLE, Credentials, MadeKeys, is_name, new_client_id};
pub use keys::{KeySet, NewKeys};
pub use registry::{Caller, ClientRegistry};
pub use shards::{ClientTable, Clients};
pub use store::{
    ClientChange, ClientError, ClientInfo, ClientStore, FmrChange, NewClient, StoredClient,
};
