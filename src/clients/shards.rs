//! The client tables of all databases. Each client is in one of them, together with its jobs; which
//! one is found by asking all of them.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use tokio::task::JoinSet;
use visavis_signing::ClientKey;

use super::{
    audit::{ActOutcome, Actor, AuditEntry},
    audit_filter::{AuditCursor, AuditFilter, AuditPage},
    client::{ClientInfo, NewClient},
    error::ClientError,
    name::is_client_id,
    store::ClientStore,
};
use crate::db::Access;

/// The client tables that this process can reach; clones share the connections.
#[derive(Debug, Clone)]
pub struct Clients {
    tables: Arc<[ClientTable]>,
    configured: u32,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct ClientTable {
    /// Number of the database.
    pub shard: u32,
    /// The table.
    pub store: ClientStore,
}

impl Clients {
    /// Those of `configured` tables that this process can reach; at least one.
    pub fn new(tables: Vec<ClientTable>, configured: u32) -> Self {
        Self { tables: tables.into(), configured }
    }

    /// The same, with the actor of audit events.
    #[must_use]
    pub(crate) fn with_actor(self, actor: &Actor) -> Self {
        let named = |table: &ClientTable| ClientTable {
            shard: table.shard,
            store: table.store.clone().with_actor(actor.clone()),
        };
        Self { tables: self.tables.iter().map(named).collect(), configured: self.configured }
    }

    /// Entries of the audit in all databases, newest first: at most `limit`, those after `after`.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<AuditPage, ClientError> {
        let mut all = Vec::new();
        for ClientTable { shard, store } in self.tables.iter() {
            let mut end = after.map_or((i64::MAX, i64::MAX), |after| after.end_in(*shard));
            if let Some(until) = filter.until.filter(|until| *until <= end.0) {
                end = (until, i64::MIN);
            }
            let entries = store.list_audit(filter, end, limit).await?;
            let place = |id, entry: &AuditEntry| AuditCursor { at: entry.at, shard: *shard, id };
            all.extend(entries.into_iter().map(|(id, entry)| (place(id, &entry), entry)));
        }
        all.sort_by_key(|(place, _)| (Reverse(place.at), place.shard, Reverse(place.id)));
        all.truncate(limit as usize);
        let is_full = all.len() == limit as usize;
        let next = all.last().filter(|_| is_full).map(|(place, _)| *place);
        Ok(AuditPage { entries: all.into_iter().map(|(_, entry)| entry).collect(), next })
    }

    /// The names of all clients, by Client-Id.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(crate) async fn names(&self) -> Result<HashMap<String, String>, ClientError> {
        let clients = self.list().await?.into_iter();
        Ok(clients.map(|(_, client)| (client.client_id, client.name)).collect())
    }

    /// The Client-Id of a client by name or Client-Id, for the audit; what names no client is taken
    /// for the Client-Id of one that was deleted.
    ///
    /// # Errors
    /// A failure of the database.
    pub(crate) async fn audited_client_id(&self, name: &str) -> Result<String, ClientError> {
        match self.resolve(name).await {
            Ok((_, client_id)) => Ok(client_id),
            Err(ClientError::Unknown(_)) => Ok(name.to_owned()),
            Err(error) => Err(error),
        }
    }

    /// Records an audit event that is not a change of a client, in each of the databases.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(crate) async fn record_audit_event(
        &self,
        act: &'static str,
        subject: &str,
        outcome: ActOutcome,
        detail: &serde_json::Value,
    ) -> Result<(), ClientError> {
        for table in self.tables.iter() {
            table.store.record_audit_event(act, subject, outcome, detail).await?;
        }
        Ok(())
    }

    /// Whether this process serves all databases.
    pub(super) fn are_all(&self) -> bool {
        self.tables.len() >= self.configured as usize
    }

    /// Registers a client in the database with this number; without one, where the fewest clients
    /// are.
    ///
    /// # Errors
    /// [`ClientError::NoShard`], [`ClientError::NameTaken`], or as [`ClientStore::add`].
    pub async fn add(&self, new: &NewClient<'_>, shard: Option<u32>) -> Result<u32, ClientError> {
        let mut best: Option<(usize, &ClientTable)> = None;
        for table in self.tables.iter() {
            let clients = table.store.list().await?;
            if clients.iter().any(|client| client.name == new.name) {
                let taken = Err(ClientError::NameTaken(new.name.to_owned()));
                return table.store.record_unmade(("client add", new.client_id), taken).await;
            }
            let asked_for = shard.is_none_or(|number| number == table.shard);
            if asked_for && best.is_none_or(|(fewest, _)| clients.len() < fewest) {
                best = Some((clients.len(), table));
            }
        }
        let (_, table) = best.ok_or(ClientError::NoShard(shard.unwrap_or_default()))?;
        table.store.add(new).await?;
        Ok(table.shard)
    }

    /// Checks the public key that an app gives for a new client or for new keys.
    ///
    /// # Errors
    /// [`SigningError::Weak`](visavis_signing::SigningError::Weak), [`ClientError::ServerKey`], or
    /// a failure of database or sealing.
    pub async fn check_key(&self, given: &ClientKey) -> Result<(), ClientError> {
        given.check_strength()?;
        for table in self.tables.iter() {
            if table.store.has_server_key(given).await? {
                return Err(ClientError::ServerKey);
            }
        }
        Ok(())
    }

    /// All clients, each with the number of its database, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(crate) async fn list(&self) -> Result<Vec<(u32, ClientInfo)>, ClientError> {
        let mut all = Vec::new();
        for ClientTable { shard, store } in self.tables.iter() {
            all.extend(store.list().await?.into_iter().map(|client| (*shard, client)));
        }
        all.sort_by_key(|(_, client)| client.created_at);
        Ok(all)
    }

    /// Every Client-Id in all tables.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub(crate) async fn ids(&self) -> Result<Vec<String>, ClientError> {
        let mut all = Vec::new();
        for table in self.tables.iter() {
            all.extend(table.store.ids().await?);
        }
        Ok(all)
    }

    /// The table and the Client-Id of a client that is given by id or name. An id takes precedence
    /// over a name in any database: early versions took the id of one client as the name of
    /// another.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when no client has that id or name.
    pub async fn resolve(&self, id_or_name: &str) -> Result<(&ClientStore, String), ClientError> {
        match self.locate(id_or_name).await {
            Ok(Some((table, _))) => return Ok((&table.store, id_or_name.to_owned())),
            // A database that is out of reach may have a client with that id, if it is one.
            Err(error) if is_client_id(id_or_name) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        for table in self.tables.iter() {
            if let Some(client_id) = table.store.id_of_name(id_or_name).await? {
                return Ok((&table.store, client_id));
            }
        }
        Err(ClientError::Unknown(id_or_name.to_owned()))
    }

    /// The table of a client, and its revision. All tables are asked at once, so that an
    /// unreachable one does not delay clients of other tables.
    ///
    /// # Errors
    /// [`ClientError::Database`] when no table has the client and one of them did not respond.
    pub(super) async fn locate(
        &self,
        client_id: &str,
    ) -> Result<Option<(&ClientTable, i64)>, ClientError> {
        if let [only] = &*self.tables {
            return Ok(only.store.revision(client_id).await?.map(|revision| (only, revision)));
        }
        let mut asked = JoinSet::new();
        for (place, table) in self.tables.iter().enumerate() {
            let (store, client_id) = (table.store.clone(), client_id.to_owned());
            asked.spawn(async move { (place, store.revision(&client_id).await) });
        }
        let mut failure = None;
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((place, Ok(Some(revision)))) => {
                    return Ok(Some((&self.tables[place], revision)));
                }
                Ok((_, Ok(None))) => {}
                Ok((_, Err(error))) => failure = Some(error),
                Err(_) => failure = Some(ClientError::Database(sqlx::Error::WorkerCrashed)),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// All tables.
    pub(crate) fn tables(&self) -> &[ClientTable] {
        &self.tables
    }

    /// The table of the database with this number.
    pub(crate) fn table(&self, shard: u32) -> Option<&ClientTable> {
        self.tables.iter().find(|table| table.shard == shard)
    }

    /// Checks that the master key opens every database.
    ///
    /// # Errors
    /// [`ClientError::Seal`] with another master key; a failure of the database.
    pub(crate) async fn check_master_key(&self) -> Result<(), ClientError> {
        for table in self.tables.iter() {
            table.store.check_master_key().await?;
        }
        Ok(())
    }

    /// Checks it for a command with this access to the databases: only one that may change them
    /// adds the MACs that clients of an earlier version do not have.
    ///
    /// # Errors
    /// As [`check_master_key`](Self::check_master_key) or [`try_master_key`](Self::try_master_key).
    pub(crate) async fn check_master_key_for(&self, access: Access) -> Result<(), ClientError> {
        if access == Access::Read {
            self.try_master_key().await
        } else {
            self.check_master_key().await
        }
    }

    /// The same as [`check_master_key`](Self::check_master_key) without writing anything.
    ///
    /// # Errors
    /// The same, and [`ClientError::NoMacs`] when the clients of an earlier version have none yet.
    pub(crate) async fn try_master_key(&self) -> Result<(), ClientError> {
        for table in self.tables.iter() {
            table.store.try_master_key().await?;
        }
        Ok(())
    }
}

impl From<ClientStore> for Clients {
    /// An installation with one database.
    fn from(store: ClientStore) -> Self {
        Self::new(vec![ClientTable { shard: 0, store }], 1)
    }
}
