//! Deleting clients.

use super::{
    audit_store::append,
    error::ClientError,
    mac::{Integrity, lock},
    store::ClientStore,
};
use crate::db::{Db, PostgresDb, SqliteDb};

impl ClientStore {
    /// Deletes a client with its settings, keys and counts, one that was changed outside of Visavis
    /// included. Its audit entries stay. A running server refuses its next request.
    ///
    /// # Errors
    /// [`ClientError::Unknown`], [`ClientError::HasTransactions`], or a failure of the database.
    pub async fn delete(&self, client_id: &str) -> Result<(), ClientError> {
        let made = self.try_to_delete(client_id).await;
        self.record_unmade(("client delete", client_id), made).await
    }

    async fn try_to_delete(&self, client_id: &str) -> Result<(), ClientError> {
        let clients = self.list().await?;
        let name = clients.into_iter().find(|client| client.client_id == client_id);
        let name = name.map(|client| client.name);
        let detail = serde_json::json!({ "name": name });
        let entry = self.audit_entry("client delete", client_id, detail.to_string());
        let deleted = self.db.once("client_remove", |attempt| async move {
            let mut tx = attempt.begin().await?;
            if lock(&mut tx, client_id, &self.key).await? == Integrity::Missing {
                return Ok(Err(ClientError::Unknown(client_id.to_owned())));
            }
            // Its key sets and counts go with it.
            let delete = tx.statement(
                "client_delete",
                "DELETE FROM client WHERE client_id = $1
                     AND NOT EXISTS (SELECT 1 FROM job WHERE job.client_id = $1)",
            );
            if delete.bind(client_id).run().await? == 0 {
                return Ok(Err(ClientError::HasTransactions(client_id.to_owned())));
            }
            append(&mut tx, &entry, &self.key).await?;
            tx.commit().await.map(Ok)
        });
        deleted.await??;
        // The databases have different statements for it.
        match &self.db {
            Db::Sqlite(db) => scrub_sqlite(db).await?,
            Db::Postgres(db) => scrub_postgres(db).await?,
        }
        Ok(())
    }
}

/// Empties the log, which has copies of the keys. In the file itself `SQLite` overwrites content as
/// it deletes it.
async fn scrub_sqlite(db: &SqliteDb) -> Result<(), sqlx::Error> {
    db.statement("client_checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)").run().await.map(drop)
}

/// Removes the dead rows.
async fn scrub_postgres(db: &PostgresDb) -> Result<(), sqlx::Error> {
    db.statement("client_vacuum", "VACUUM client, client_key").run().await.map(drop)
}
