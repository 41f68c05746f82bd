//! Key sets that expired: tried for no request any more, and deleted after a while.

use super::{
    error::ClientError,
    sql::{on, postgres_expired, sqlite_expired},
    store::ClientStore,
};
use crate::db::Db;

/// How long an expired key set is kept. Long, because a clock that runs ahead for a while must not cost keys that are
/// good again when it is set right.
const KEEP_EXPIRED_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Clients read by one statement.
const BATCH: i64 = 100;

impl ClientStore {
    /// Deletes the key sets that expired more than 30 days ago; returns how many. The newest set of a client stays, so
    /// that versions are never used twice.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn purge_expired_keys(&self) -> Result<u64, ClientError> {
        let before = self.clock.now().saturating_sub(KEEP_EXPIRED_MS);
        let (mut purged, mut after) = (0, String::new());
        loop {
            let owners = on!(
                self,
                sqlite_expired,
                postgres_expired,
                readers,
                owners(before, &after, BATCH)
            )?;
            for client_id in &owners {
                purged += on!(
                    self,
                    sqlite_expired,
                    postgres_expired,
                    writer,
                    purge(client_id, before, &self.key)
                )?;
            }
            match owners.into_iter().last() {
                Some(last) => after = last,
                None => return Ok(purged),
            }
        }
    }
}
