//! Expired key sets: never used for a request, and deleted after 30 days.

use sqlx::Error;

use super::{
    error::ClientError,
    mac::{Integrity, lock, stamp},
    store::ClientStore,
};
use crate::{clock::UnixMillis, db::Attempt};

/// How long an expired key set is kept. Long, because a clock that runs ahead for a while must not
/// delete keys that are valid again when it is corrected.
const KEEP_EXPIRED_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Clients read by one statement.
const BATCH: i64 = 100;

impl ClientStore {
    /// Deletes the key sets that expired more than 30 days ago; returns how many. The newest set of
    /// a client stays, so that versions are never used twice.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn purge_expired_keys(&self) -> Result<u64, ClientError> {
        let before = self.clock.now().saturating_sub(KEEP_EXPIRED_MS);
        let (mut purged, mut after) = (0, String::new());
        loop {
            let owners = self.db.read(
                "expired_keys",
                "SELECT DISTINCT client_id FROM client_key
                 WHERE expires_at < $1 AND client_id > $2 AND version <
                     (SELECT max(version) FROM client_key AS newest
                      WHERE newest.client_id = client_key.client_id)
                 ORDER BY client_id LIMIT $3",
            );
            let owners = owners.bind(before).bind(after.as_str()).bind(BATCH);
            let owners: Vec<String> = owners.all(|row| row.get("client_id")).await?;
            for client_id in &owners {
                let purge = |attempt| self.purge_keys(attempt, client_id, before);
                purged += self.db.retrying("client_purge_keys", purge).await?;
            }
            match owners.into_iter().last() {
                Some(last) => after = last,
                None => return Ok(purged),
            }
        }
    }

    /// The clients with older key sets that are still valid, and when the first of these expires.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn expiring_keys(&self) -> Result<Vec<(String, UnixMillis)>, ClientError> {
        let expiring = self.db.read(
            "expiring_keys",
            "SELECT client_id, min(expires_at) AS first FROM client_key
             WHERE expires_at > $1 GROUP BY client_id",
        );
        let expiring = expiring.bind(self.clock.now());
        Ok(expiring.all(|row| Ok((row.get("client_id")?, row.get("first")?))).await?)
    }

    /// Deletes those of one client; returns how many there were. A tampered client is left
    /// unchanged.
    async fn purge_keys(
        &self,
        attempt: Attempt,
        client_id: &str,
        before: UnixMillis,
    ) -> Result<u64, Error> {
        let mut tx = attempt.begin().await?;
        if lock(&mut tx, client_id, &self.key).await? != Integrity::Intact {
            return Ok(0);
        }
        let purge = tx.statement(
            "expired_keys_purge",
            "DELETE FROM client_key WHERE client_id = $1 AND expires_at < $2 AND version <
                 (SELECT max(version) FROM client_key AS newest WHERE newest.client_id = $1)",
        );
        let purged = purge.bind(client_id).bind(before).run().await?;
        stamp(&mut tx, client_id, &self.key).await?;
        tx.commit().await.map(|()| purged)
    }
}
