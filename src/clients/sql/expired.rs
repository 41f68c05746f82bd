//! Key sets that expired.

macro_rules! statements {
    ($module:ident, $database:ty) => {
        pub(in crate::clients) mod $module {
            use sqlx::{Error, Pool};

            use crate::{
                clients::sql::{
                    Found,
                    rows::$module::{lock, stamp},
                },
                clock::UnixMillis,
                sealing::MasterKey,
            };

            /// Clients after `after` with key sets that expired before `before`, the newest set of each aside.
            pub(in crate::clients) async fn owners(
                pool: Pool<$database>,
                before: UnixMillis,
                after: &str,
                limit: i64,
            ) -> Result<Vec<String>, Error> {
                sqlx::query_scalar(
                    "/* expired keys */
                     SELECT DISTINCT client_id FROM client_key
                     WHERE expires_at < $1 AND client_id > $2 AND version <
                         (SELECT max(version) FROM client_key AS newest WHERE newest.client_id = client_key.client_id)
                     ORDER BY client_id LIMIT $3",
                )
                .bind(before)
                .bind(after)
                .bind(limit)
                .fetch_all(&pool)
                .await
            }

            /// Deletes them; returns how many there were. A client that was tampered with stays as it is.
            pub(in crate::clients) async fn purge(
                pool: Pool<$database>,
                client_id: &str,
                before: UnixMillis,
                key: &MasterKey,
            ) -> Result<u64, Error> {
                let mut transaction = pool.begin().await?;
                if lock(&mut transaction, client_id, key).await? != Found::Client {
                    return Ok(0);
                }
                let purged = sqlx::query(
                    "/* expired keys */
                     DELETE FROM client_key WHERE client_id = $1 AND expires_at < $2 AND version <
                         (SELECT max(version) FROM client_key AS newest WHERE newest.client_id = $1)",
                )
                .bind(client_id)
                .bind(before)
                .execute(&mut *transaction)
                .await?;
                stamp(&mut transaction, client_id, key).await?;
                transaction.commit().await.map(|()| purged.rows_affected())
            }
        }
    };
}

statements!(sqlite, sqlx::Sqlite);
statements!(postgres, sqlx::Postgres);
