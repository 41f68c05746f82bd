//! When clients last used the API, for operators. Requests only note it in memory; a background
//! task writes it once a minute, so the time is exact to a minute.

use super::{error::ClientError, store::ClientStore};
use crate::{clock::UnixMillis, db::Sql};

/// Rows that another process is writing get the same time from it.
const LAST_USED: Sql = Sql::Each {
    sqlite: "UPDATE client SET last_used_at = $2
             WHERE client_id IN (SELECT value FROM json_each($1))
                 AND (last_used_at IS NULL OR last_used_at < $2)",
    postgres: "UPDATE client SET last_used_at = $2
               WHERE client_id IN
                   (SELECT client_id FROM client
                    WHERE client_id = ANY($1) AND (last_used_at IS NULL OR last_used_at < $2)
                    FOR UPDATE SKIP LOCKED)",
};

impl ClientStore {
    /// Stores that these clients have just used the API.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn mark_used(&self, client_ids: &[&str]) -> Result<(), ClientError> {
        let now: UnixMillis = self.clock.now();
        self.db.write("client_used", LAST_USED).bind(client_ids).bind(now).run().await?;
        Ok(())
    }
}
