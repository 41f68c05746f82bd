//! A client as it is stored, with its MAC.

macro_rules! statements {
    ($module:ident, $database:ty, $row:ty, $connection:ty) => {
        pub(in crate::clients) mod $module {
            use sqlx::{Error, Pool, Row as _, Transaction};

            use crate::{
                clients::{
                    keys::SealedKeys,
                    mac,
                    sql::{ClientRow, Found},
                },
                sealing::MasterKey,
            };

            /// A row for each key set, newest first.
            pub(in crate::clients) async fn get(
                pool: Pool<$database>,
                client_id: &str,
            ) -> Result<Vec<ClientRow>, Error> {
                read(&mut *pool.acquire().await?, client_id).await
            }

            async fn read(
                connection: &mut $connection,
                client_id: &str,
            ) -> Result<Vec<ClientRow>, Error> {
                let rows = sqlx::query(
                    "/* client get */
                     SELECT client_id, name, revision, extras, fmr, document_fmr, terms, disabled_at, mac,
                         client_key.version, merchant_key, server_key, access_key, secret_key, expires_at
                     FROM client JOIN client_key USING (client_id)
                     WHERE client_id = $1 ORDER BY client_key.version DESC",
                )
                .bind(client_id)
                .fetch_all(connection)
                .await?;
                rows.iter().map(client).collect()
            }

            fn client(row: &$row) -> Result<ClientRow, Error> {
                let version: i64 = row.try_get("version")?;
                let keys = SealedKeys {
                    version: u32::try_from(version).map_err(|e| Error::Decode(e.into()))?,
                    merchant_key: row.try_get("merchant_key")?,
                    server_key: row.try_get("server_key")?,
                    access_key: row.try_get("access_key")?,
                    secret_key: row.try_get("secret_key")?,
                    expires_at: row.try_get("expires_at")?,
                };
                Ok(ClientRow {
                    client_id: row.try_get("client_id")?,
                    name: row.try_get("name")?,
                    revision: row.try_get("revision")?,
                    extras: row.try_get("extras")?,
                    fmr: row.try_get("fmr")?,
                    document_fmr: row.try_get("document_fmr")?,
                    terms: row.try_get("terms")?,
                    disabled_at: row.try_get("disabled_at")?,
                    mac: row.try_get("mac")?,
                    keys,
                })
            }

            /// Locks a client for the rest of the transaction and checks its MAC. Without this a change would give its
            /// MAC to what somebody else wrote.
            pub(in crate::clients::sql) async fn lock(
                transaction: &mut Transaction<'_, $database>,
                client_id: &str,
                key: &MasterKey,
            ) -> Result<Found, Error> {
                // A write, because SQLite has no other lock that a later write cannot lose.
                let locked = sqlx::query(
                    "/* client lock */ UPDATE client SET revision = revision WHERE client_id = $1",
                )
                .bind(client_id)
                .execute(&mut **transaction)
                .await?;
                if locked.rows_affected() == 0 {
                    return Ok(Found::Nothing);
                }
                let rows = read(transaction, client_id).await?;
                Ok(if mac::holds(key, &rows) { Found::Client } else { Found::Tampered })
            }

            /// Gives a client its MAC, after a change in the same transaction.
            pub(in crate::clients::sql) async fn stamp(
                transaction: &mut Transaction<'_, $database>,
                client_id: &str,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let rows = read(transaction, client_id).await?;
                let mac = mac::mac(key, &rows).map_err(|e| Error::Encode(e.into()))?;
                sqlx::query("/* client mac */ UPDATE client SET mac = $2 WHERE client_id = $1")
                    .bind(client_id)
                    .bind(mac)
                    .execute(&mut **transaction)
                    .await
                    .map(|_| ())
            }

            /// Computes the MAC of a client again, if it holds.
            pub(in crate::clients) async fn restamp(
                pool: Pool<$database>,
                client_id: &str,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let mut transaction = pool.begin().await?;
                if matches!(lock(&mut transaction, client_id, key).await?, Found::Client) {
                    stamp(&mut transaction, client_id, key).await?;
                }
                transaction.commit().await
            }

            /// Gives a client of an earlier version its first MAC.
            pub(in crate::clients) async fn adopt(
                pool: Pool<$database>,
                client_id: &str,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let mut transaction = pool.begin().await?;
                lock(&mut transaction, client_id, key).await?;
                let rows = read(&mut transaction, client_id).await?;
                if rows.first().is_some_and(|client| client.mac.is_none()) {
                    stamp(&mut transaction, client_id, key).await?;
                }
                transaction.commit().await
            }
        }
    };
}

statements!(sqlite, sqlx::Sqlite, sqlx::sqlite::SqliteRow, sqlx::SqliteConnection);
statements!(postgres, sqlx::Postgres, sqlx::postgres::PgRow, sqlx::PgConnection);
