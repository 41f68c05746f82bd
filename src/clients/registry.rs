//! Who is calling: clients with their keys opened, kept in memory as long as they are current.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    keys::KeySet,
    store::{ClientError, ClientStore, StoredClient},
};
use crate::{clock::UnixMillis, signing::ServerKey};

/// A client that has registered, with its keys ready for use.
#[derive(Debug)]
pub struct Caller {
    /// The Client-Id header.
    pub client_id: String,
    /// Keys and switches.
    pub client: StoredClient,
}

impl Caller {
    /// The keys that may be used at `now`, the ones that `key_version` names first, then newest first.
    pub fn keys(&self, now: UnixMillis, key_version: Option<&str>) -> Vec<&Arc<KeySet>> {
        let mut keys: Vec<_> = self.client.keys.iter().filter(|set| set.is_valid(now)).collect();
        keys.sort_by_key(|set| !key_version.is_some_and(|name| set.is_called(name)));
        keys
    }

    /// The keys that the client should be using.
    pub fn newest(&self) -> Option<&Arc<KeySet>> {
        self.client.keys.first()
    }
}

/// Looks clients up; opening and parsing a client's keys costs half a millisecond, so that is done
/// once per version of the client.
#[derive(Debug)]
pub struct ClientRegistry {
    store: ClientStore,
    cache: Mutex<HashMap<String, Arc<Caller>>>,
    gateway_key: Arc<ServerKey>,
}

/// Clients kept in memory; far more than an installation has.
const CACHED: usize = 10_000;

impl ClientRegistry {
    /// Opens the registry and the key for answers to strangers.
    ///
    /// # Errors
    /// As [`ClientStore::gateway_key`].
    pub async fn open(store: ClientStore) -> Result<Self, ClientError> {
        let gateway_key = Arc::new(store.gateway_key().await?);
        Ok(Self { store, cache: Mutex::default(), gateway_key })
    }

    /// Signs answers to callers that are not known: they cannot verify it, but some of their SDKs
    /// break on an answer without any signature and never show the reason.
    pub fn gateway_key(&self) -> &Arc<ServerKey> {
        &self.gateway_key
    }

    /// The current state of a client; `None` if there is no such client.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn find(&self, client_id: &str) -> Result<Option<Arc<Caller>>, ClientError> {
        let Some(revision) = self.store.revision(client_id).await? else { return Ok(None) };
        if let Some(known) =
            self.cached(client_id).filter(|known| known.client.revision == revision)
        {
            return Ok(Some(known));
        }
        let Some(client) = self.store.get(client_id).await? else { return Ok(None) };
        let caller = Arc::new(Caller { client_id: client_id.to_owned(), client });
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(client_id.to_owned(), Arc::clone(&caller));
        Ok(Some(caller))
    }

    fn cached(&self, client_id: &str) -> Option<Arc<Caller>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(client_id).cloned()
    }
}
