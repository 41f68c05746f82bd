//! A cache of clients with their keys opened, checked against the database for every request.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    audit::{ActOutcome, Actor},
    client::StoredClient,
    error::ClientError,
    keys::KeySet,
    shards::Clients,
};
use crate::{clock::UnixMillis, compare::TransactionId};

/// A client that has registered, with its keys ready for use.
#[derive(Debug)]
pub struct Caller {
    /// The Client-Id header.
    pub client_id: String,
    /// Number of the database where client and jobs live.
    pub shard: u32,
    /// Keys and switches.
    pub client: StoredClient,
}

impl Caller {
    /// The keys that may be used at `now`, the ones that `key_version` names first, then newest
    /// first.
    pub(crate) fn keys(&self, now: UnixMillis, key_version: Option<&str>) -> Vec<&Arc<KeySet>> {
        let mut keys: Vec<_> = self.client.keys.iter().filter(|set| set.is_valid(now)).collect();
        keys.sort_by_key(|set| !key_version.is_some_and(|name| set.has_version_name(name)));
        keys
    }

    /// The keys that the client should be using.
    pub(crate) fn newest(&self) -> Option<&Arc<KeySet>> {
        self.client.keys.first()
    }
}

/// Looks clients up; opening and parsing a client's keys costs half a millisecond, so that is done
/// once per version of the client.
#[derive(Debug)]
pub struct ClientRegistry {
    clients: Clients,
    cache: Mutex<HashMap<String, Arc<Caller>>>,
    counts: Mutex<HashMap<u32, (Instant, u64)>>,
    ids: Arc<Mutex<Ids>>,
    /// The clients that used the API since that was stored, by database.
    used: Mutex<HashMap<u32, HashSet<String>>>,
    /// When a tampered client was last reported.
    tampered: Mutex<Option<Instant>>,
}

/// The Client-Ids as they were read last.
#[derive(Debug, Default)]
struct Ids {
    known: HashSet<String>,
    /// When they were read, or began to be.
    read: Option<Instant>,
}

/// Clients kept in memory; far more than an installation has.
const MAX_CACHED_CLIENTS: usize = 10_000;
/// How long a count of clients is valid.
const COUNT_MAX_AGE: Duration = Duration::from_secs(5);
/// How often a tampered client is reported at most.
const TAMPERED_REPORT_INTERVAL: Duration = Duration::from_mins(1);
/// How often the Client-Ids are read at most.
const IDS_READ_INTERVAL: Duration = Duration::from_secs(5);

impl ClientRegistry {
    /// Opens the registry, if the master key is the one of every database.
    ///
    /// # Errors
    /// As [`Clients::check_master_key`].
    pub async fn open(clients: impl Into<Clients>) -> Result<Self, ClientError> {
        let clients = clients.into();
        clients.check_master_key().await?;
        let known = clients.ids().await?.into_iter().collect();
        let ids = Arc::new(Mutex::new(Ids { known, read: Some(Instant::now()) }));
        let (cache, counts, tampered) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { clients, cache, counts, ids, used: Mutex::default(), tampered })
    }

    /// Whether a client has this id, by ids that are some seconds old. Starts a new read of the ids
    /// if one is due.
    pub(crate) fn is_known(&self, client_id: &str) -> bool {
        if self.remembered(client_id).is_some() {
            return true;
        }
        let mut ids = lock(&self.ids);
        if ids.read.is_none_or(|read| read.elapsed() >= IDS_READ_INTERVAL) {
            ids.read = Some(Instant::now());
            let (clients, ids) = (self.clients.clone(), Arc::clone(&self.ids));
            tokio::spawn(async move {
                match clients.ids().await {
                    Ok(known) => lock(&ids).known = known.into_iter().collect(),
                    Err(error) => tracing::warn!(%error, "cannot read the client ids"),
                }
            });
        }
        ids.known.contains(client_id)
    }

    /// The current state of a client; `None` if there is no such client.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn find(&self, client_id: &str) -> Result<Option<Arc<Caller>>, ClientError> {
        let known = self.remembered(client_id);
        // A client does not move, so for a known one only its own database is asked.
        let home = known.as_ref().and_then(|known| self.clients.table(known.shard));
        let located = match home {
            Some(table) => table.store.revision(client_id).await?.map(|revision| (table, revision)),
            None => self.clients.locate(client_id).await?,
        };
        let Some((table, revision)) = located else {
            return if self.clients.are_all() { Ok(None) } else { Err(ClientError::NotServed) };
        };
        if let Some(known) = known.filter(|known| known.client.revision == revision) {
            return Ok(Some(known));
        }
        let client = table.store.get(client_id).await;
        if matches!(client, Err(ClientError::Tampered(_))) {
            self.report_tampered(client_id);
        }
        let Some(client) = client? else { return Ok(None) };
        let client_id = client_id.to_owned();
        let caller = Arc::new(Caller { client_id: client_id.clone(), shard: table.shard, client });
        let mut cache = lock(&self.cache);
        if cache.len() >= MAX_CACHED_CLIENTS {
            cache.clear();
        }
        cache.insert(client_id, Arc::clone(&caller));
        Ok(Some(caller))
    }

    /// Notes that a client has used the API.
    pub(crate) fn note_use(&self, caller: &Caller) {
        let mut used = lock(&self.used);
        let used = used.entry(caller.shard).or_default();
        if !used.contains(&caller.client_id) {
            used.insert(caller.client_id.clone());
        }
    }

    /// Stores the uses that were noted since the last call.
    pub(crate) async fn store_uses(&self) {
        let used = std::mem::take(&mut *lock(&self.used));
        for (shard, client_ids) in used {
            let client_ids: Vec<_> = client_ids.iter().map(String::as_str).collect();
            let Some(table) = self.clients.table(shard) else { continue };
            if let Err(error) = table.store.mark_used(&client_ids).await {
                tracing::warn!(shard, %error, "cannot store when clients were last used");
            }
        }
    }

    /// Logs it, but not for every request of the client.
    fn report_tampered(&self, client_id: &str) {
        let mut reported = lock(&self.tampered);
        if reported.is_none_or(|reported| reported.elapsed() >= TAMPERED_REPORT_INTERVAL) {
            *reported = Some(Instant::now());
            tracing::error!(
                client = client_id,
                "client row was changed outside of Visavis: \
                 restore it from a backup or rotate its keys"
            );
        }
    }

    /// The last known state of a client, current or not.
    pub(crate) fn remembered(&self, client_id: &str) -> Option<Arc<Caller>> {
        lock(&self.cache).get(client_id).cloned()
    }

    /// Counts a comparison against a client's quota; returns the day, or `None` if that was used
    /// up.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn count_comparison(
        &self,
        shard: u32,
        client_id: &str,
        quota: NonZeroU32,
    ) -> Result<Option<i64>, ClientError> {
        let table = self.clients.table(shard).ok_or(ClientError::NoShard(shard))?;
        table.store.count_comparison(client_id, quota).await
    }

    /// Takes back a count whose comparison was not made.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn uncount_comparison(
        &self,
        shard: u32,
        client_id: &str,
        day: i64,
    ) -> Result<(), ClientError> {
        let table = self.clients.table(shard).ok_or(ClientError::NoShard(shard))?;
        table.store.uncount_comparison(client_id, day).await
    }

    /// Records in the audit that a client deletes one of its transactions, before and after it is
    /// done.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn record_deletion(
        &self,
        shard: u32,
        (client_id, from): (&str, Option<IpAddr>),
        id: &TransactionId,
        outcome: ActOutcome,
    ) -> Result<(), ClientError> {
        let table = self.clients.table(shard).ok_or(ClientError::NoShard(shard))?;
        let store = table.store.clone().with_actor(Actor::client(client_id, from));
        let detail = serde_json::json!({ "transactions": 1 });
        store.record_audit_event("erase", &format!("transaction {id}"), outcome, &detail).await
    }

    /// Whether the database with this number has at most one enabled client; some seconds old.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn is_alone(&self, shard: u32) -> Result<bool, ClientError> {
        let counted = lock(&self.counts).get(&shard).copied();
        let count =
            if let Some((_, count)) = counted.filter(|(when, _)| when.elapsed() < COUNT_MAX_AGE) {
                count
            } else {
                let table = self.clients.table(shard).ok_or(ClientError::NoShard(shard))?;
                let count = table.store.count().await?;
                lock(&self.counts).insert(shard, (Instant::now(), count));
                count
            };
        Ok(count < 2)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
