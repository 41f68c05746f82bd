//! The client table.

macro_rules! statements {
    ($module:ident, $database:ty, $row:ty) => {
        pub(in crate::clients) mod $module {
            use sqlx::{Error, Pool, Row as _, Transaction};

            use crate::{
                clients::{
                    AuditEntry, CONSOLE, ClientInfo,
                    keys::SealedKeys,
                    sql::{
                        ChangedRow, Found, NewRow,
                        acts::$module::keep,
                        parse_fmr, parse_terms,
                        rows::$module::{lock, stamp},
                    },
                },
                clock::UnixMillis,
                sealing::MasterKey,
            };

            /// Inserts a client with its first keys; false when the name is taken.
            pub(in crate::clients) async fn add(
                pool: Pool<$database>,
                new: &NewRow<'_>,
                keys: &SealedKeys,
                act: &AuditEntry,
                key: &MasterKey,
            ) -> Result<bool, Error> {
                let mut transaction = pool.begin().await?;
                let inserted = sqlx::query(
                    "/* client add */
                     INSERT INTO client (client_id, name, extras, created_at, fmr, document_fmr, terms)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)
                     ON CONFLICT (name) DO NOTHING",
                )
                .bind(new.client_id)
                .bind(new.name)
                .bind(new.extras)
                .bind(act.at)
                .bind(new.fmr.fmr.map(f64::from))
                .bind(new.fmr.document_fmr.map(f64::from))
                .bind(&new.terms)
                .execute(&mut *transaction)
                .await?;
                if inserted.rows_affected() == 0 {
                    return Ok(false);
                }
                insert_keys(&mut transaction, new.client_id, keys, act.at).await?;
                stamp(&mut transaction, new.client_id, key).await?;
                keep(&mut transaction, act, key).await?;
                transaction.commit().await.map(|()| true)
            }

            /// Inserts further keys and ends the others at `end`, if the client still is at `revision`. With `repair`
            /// a client that was tampered with is one of ours again.
            pub(in crate::clients) async fn rotate(
                pool: Pool<$database>,
                (client_id, revision): (&str, i64),
                keys: &SealedKeys,
                end: UnixMillis,
                act: &AuditEntry,
                (key, repair): (&MasterKey, bool),
            ) -> Result<Found, Error> {
                let mut transaction = pool.begin().await?;
                let found = lock(&mut transaction, client_id, key).await?;
                if found == Found::Nothing || (found == Found::Tampered && !repair) {
                    return Ok(found);
                }
                let touched = sqlx::query(
                    "/* client rotate */
                     UPDATE client SET revision = revision + 1 WHERE client_id = $1 AND revision = $2",
                )
                .bind(client_id)
                .bind(revision)
                .execute(&mut *transaction)
                .await?;
                if touched.rows_affected() == 0 {
                    return Ok(Found::Nothing);
                }
                sqlx::query(
                    "/* client rotate */
                     UPDATE client_key SET expires_at = $2
                     WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2)",
                )
                .bind(client_id)
                .bind(end)
                .execute(&mut *transaction)
                .await?;
                insert_keys(&mut transaction, client_id, keys, act.at).await?;
                stamp(&mut transaction, client_id, key).await?;
                keep(&mut transaction, act, key).await?;
                transaction.commit().await.map(|()| Found::Client)
            }

            async fn insert_keys(
                transaction: &mut Transaction<'_, $database>,
                client_id: &str,
                keys: &SealedKeys,
                now: UnixMillis,
            ) -> Result<(), Error> {
                sqlx::query(
                    "/* client keys */
                     INSERT INTO client_key
                         (client_id, version, merchant_key, server_key, access_key, secret_key, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(client_id)
                .bind(i64::from(keys.version))
                .bind(&keys.merchant_key)
                .bind(&keys.server_key)
                .bind(&keys.access_key)
                .bind(&keys.secret_key)
                .bind(now)
                .execute(&mut **transaction)
                .await
                .map(|_| ())
            }

            pub(in crate::clients) async fn list(
                pool: Pool<$database>,
            ) -> Result<Vec<ClientInfo>, Error> {
                let rows = sqlx::query(
                    "/* client list */
                     SELECT client_id, name, access_key, client_key.version, extras, fmr, document_fmr, terms,
                         client.created_at, disabled_at
                     FROM client JOIN client_key USING (client_id)
                     WHERE client_key.version =
                         (SELECT max(version) FROM client_key AS newest WHERE newest.client_id = client.client_id)
                     ORDER BY client.created_at, client_id",
                )
                .fetch_all(&pool)
                .await?;
                rows.iter().map(info).collect()
            }

            fn info(row: &$row) -> Result<ClientInfo, Error> {
                let version: i64 = row.try_get("version")?;
                Ok(ClientInfo {
                    client_id: row.try_get("client_id")?,
                    name: row.try_get("name")?,
                    access_key: row.try_get("access_key")?,
                    key_version: u32::try_from(version).map_err(|e| Error::Decode(e.into()))?,
                    extras: row.try_get("extras")?,
                    fmr: parse_fmr(row.try_get("fmr")?, row.try_get("document_fmr")?)?,
                    terms: parse_terms(row.try_get("terms")?)?,
                    created_at: row.try_get("created_at")?,
                    disabled_at: row.try_get("disabled_at")?,
                })
            }

            pub(in crate::clients) async fn id_of_name(
                pool: Pool<$database>,
                name: &str,
            ) -> Result<Option<String>, Error> {
                sqlx::query_scalar("/* client name */ SELECT client_id FROM client WHERE name = $1")
                    .bind(name)
                    .fetch_optional(&pool)
                    .await
            }

            /// Disabling is done to a client that was tampered with too; it does not get a MAC by that.
            pub(in crate::clients) async fn set_disabled(
                pool: Pool<$database>,
                client_id: &str,
                at: Option<UnixMillis>,
                act: &AuditEntry,
                key: &MasterKey,
            ) -> Result<Found, Error> {
                let mut transaction = pool.begin().await?;
                let found = lock(&mut transaction, client_id, key).await?;
                if found == Found::Nothing || (found == Found::Tampered && at.is_none()) {
                    return Ok(found);
                }
                sqlx::query(
                    "/* client set_disabled */
                     UPDATE client SET disabled_at = $2, revision = revision + 1 WHERE client_id = $1",
                )
                .bind(client_id)
                .bind(at)
                .execute(&mut *transaction)
                .await?;
                if found == Found::Client {
                    stamp(&mut transaction, client_id, key).await?;
                }
                keep(&mut transaction, act, key).await?;
                transaction.commit().await.map(|()| Found::Client)
            }

            pub(in crate::clients) async fn change(
                pool: Pool<$database>,
                client_id: &str,
                change: &ChangedRow,
                act: &AuditEntry,
                key: &MasterKey,
            ) -> Result<Found, Error> {
                let (terms, revision) = match &change.terms {
                    Some((terms, revision)) => (Some(terms), Some(*revision)),
                    None => (None, None),
                };
                let mut transaction = pool.begin().await?;
                let found = lock(&mut transaction, client_id, key).await?;
                if found != Found::Client {
                    return Ok(found);
                }
                let changed = sqlx::query(
                    "/* client change */
                     UPDATE client SET
                         extras = coalesce($2, extras),
                         fmr = CASE WHEN $3 THEN $4 ELSE fmr END,
                         document_fmr = CASE WHEN $5 THEN $6 ELSE document_fmr END,
                         terms = coalesce($7, terms),
                         revision = revision + 1
                     WHERE client_id = $1 AND ($8 IS NULL OR revision = $8)",
                )
                .bind(client_id)
                .bind(change.extras)
                .bind(change.fmr.is)
                .bind(change.fmr.to)
                .bind(change.document_fmr.is)
                .bind(change.document_fmr.to)
                .bind(terms)
                .bind(revision)
                .execute(&mut *transaction)
                .await?;
                if changed.rows_affected() == 0 {
                    return Ok(Found::Nothing);
                }
                stamp(&mut transaction, client_id, key).await?;
                keep(&mut transaction, act, key).await?;
                transaction.commit().await.map(|()| Found::Client)
            }

            pub(in crate::clients) async fn count(pool: Pool<$database>) -> Result<i64, Error> {
                sqlx::query_scalar(
                    "/* client count */ SELECT count(*) FROM client WHERE disabled_at IS NULL AND name <> $1",
                )
                .bind(CONSOLE)
                .fetch_one(&pool)
                .await
            }

            pub(in crate::clients) async fn ids(pool: Pool<$database>) -> Result<Vec<String>, Error> {
                sqlx::query_scalar("/* client ids */ SELECT client_id FROM client").fetch_all(&pool).await
            }

            pub(in crate::clients) async fn revision(
                pool: Pool<$database>,
                client_id: &str,
            ) -> Result<Option<i64>, Error> {
                sqlx::query_scalar("/* client revision */ SELECT revision FROM client WHERE client_id = $1")
                    .bind(client_id)
                    .fetch_optional(&pool)
                    .await
            }

            pub(in crate::clients) async fn server_key(
                pool: Pool<$database>,
                purpose: &str,
            ) -> Result<Option<Vec<u8>>, Error> {
                sqlx::query_scalar("/* server_key */ SELECT sealed FROM server_key WHERE purpose = $1")
                    .bind(purpose)
                    .fetch_optional(&pool)
                    .await
            }

            /// Unless there is one already.
            pub(in crate::clients) async fn keep_server_key(
                pool: Pool<$database>,
                purpose: &str,
                sealed: &[u8],
                now: UnixMillis,
            ) -> Result<(), Error> {
                sqlx::query(
                    "/* server_key */
                     INSERT INTO server_key (purpose, sealed, created_at) VALUES ($1, $2, $3)
                     ON CONFLICT (purpose) DO NOTHING",
                )
                .bind(purpose)
                .bind(sealed)
                .bind(now)
                .execute(&pool)
                .await
                .map(|_| ())
            }
        }
    };
}

statements!(sqlite, sqlx::Sqlite, sqlx::sqlite::SqliteRow);
statements!(postgres, sqlx::Postgres, sqlx::postgres::PgRow);
