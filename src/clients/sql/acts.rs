//! The log of acts, and how many comparisons clients with a quota have made.

macro_rules! statements {
    ($module:ident, $database:ty) => {
        pub(in crate::clients) mod $module {
            use sqlx::{Error, Pool, Transaction};

            use crate::{
                clients::{AuditEntry, sql::chain::$module::extend},
                clock::UnixMillis,
                sealing::MasterKey,
            };

            /// Client, version, server key and secret, sealed.
            type SealedRow = (String, i64, Vec<u8>, Vec<u8>);

            /// Everything that is sealed, of the clients and of the server itself.
            pub(in crate::clients) async fn sealed(
                pool: Pool<$database>,
            ) -> Result<(Vec<SealedRow>, Vec<(String, Vec<u8>)>), Error> {
                let clients = sqlx::query_as(
                    "/* reseal */ SELECT client_id, version, server_key, secret_key FROM client_key",
                );
                let own = sqlx::query_as("/* reseal */ SELECT purpose, sealed FROM server_key");
                Ok((clients.fetch_all(&pool).await?, own.fetch_all(&pool).await?))
            }

            pub(in crate::clients) async fn reseal(
                pool: Pool<$database>,
                client_id: &str,
                version: i64,
                (server_key, secret_key): (&[u8], &[u8]),
            ) -> Result<(), Error> {
                sqlx::query(
                    "/* reseal */
                     UPDATE client_key SET server_key = $3, secret_key = $4
                     WHERE client_id = $1 AND version = $2",
                )
                .bind(client_id)
                .bind(version)
                .bind(server_key)
                .bind(secret_key)
                .execute(&pool)
                .await
                .map(|_| ())
            }

            pub(in crate::clients) async fn reseal_own(
                pool: Pool<$database>,
                purpose: &str,
                sealed: &[u8],
            ) -> Result<(), Error> {
                sqlx::query("/* reseal */ UPDATE server_key SET sealed = $2 WHERE purpose = $1")
                    .bind(purpose)
                    .bind(sealed)
                    .execute(&pool)
                    .await
                    .map(|_| ())
            }

            /// Keeps an act with what it did. Without a chain the entry has no place in one, which a check of the audit
            /// tells: an operator who cannot act would be worse.
            pub(in crate::clients::sql) async fn keep(
                transaction: &mut Transaction<'_, $database>,
                act: &AuditEntry,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let head = extend(transaction, act, key).await?;
                let (number, digest) = head.map(|head| (head.number, head.digest)).unzip();
                sqlx::query(
                    "/* audit */
                     INSERT INTO audit (at, actor, act, subject, detail, number, digest)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(act.at)
                .bind(&act.actor)
                .bind(&act.act)
                .bind(&act.subject)
                .bind(&act.detail)
                .bind(number)
                .bind(digest)
                .execute(&mut **transaction)
                .await
                .map(|_| ())
            }

            /// Keeps an act that was done elsewhere.
            pub(in crate::clients) async fn note(
                pool: Pool<$database>,
                act: &AuditEntry,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let mut transaction = pool.begin().await?;
                keep(&mut transaction, act, key).await?;
                transaction.commit().await
            }

            /// The latest acts, newest first.
            pub(in crate::clients) async fn audit(
                pool: Pool<$database>,
                limit: i64,
            ) -> Result<Vec<AuditEntry>, Error> {
                type Row = (UnixMillis, String, String, String, String);
                let rows: Vec<Row> = sqlx::query_as(
                    "/* audit */ SELECT at, actor, act, subject, detail FROM audit ORDER BY id DESC LIMIT $1",
                )
                .bind(limit)
                .fetch_all(&pool)
                .await?;
                let entry = |(at, actor, act, subject, detail)| AuditEntry { at, actor, act, subject, detail };
                Ok(rows.into_iter().map(entry).collect())
            }

            /// Counts a comparison if there are fewer than `quota` that day; whether it was counted.
            pub(in crate::clients) async fn count_comparison(
                pool: Pool<$database>,
                client_id: &str,
                day: i64,
                quota: i64,
            ) -> Result<bool, Error> {
                let counted = sqlx::query(
                    "/* quota */
                     INSERT INTO client_usage (client_id, day, comparisons) VALUES ($1, $2, 1)
                     ON CONFLICT (client_id, day) DO UPDATE SET comparisons = client_usage.comparisons + 1
                     WHERE client_usage.comparisons < $3",
                )
                .bind(client_id)
                .bind(day)
                .bind(quota)
                .execute(&pool)
                .await?;
                Ok(counted.rows_affected() > 0)
            }

            /// Takes one back that was no new one after all.
            pub(in crate::clients) async fn uncount_comparison(
                pool: Pool<$database>,
                client_id: &str,
                day: i64,
            ) -> Result<(), Error> {
                sqlx::query(
                    "/* quota */
                     UPDATE client_usage SET comparisons = comparisons - 1
                     WHERE client_id = $1 AND day = $2 AND comparisons > 0",
                )
                .bind(client_id)
                .bind(day)
                .execute(&pool)
                .await
                .map(|_| ())
            }

        }
    };
}

statements!(sqlite, sqlx::Sqlite);
statements!(postgres, sqlx::Postgres);
