//! The chain of the audit: its entries as they are stored, and its head.

macro_rules! statements {
    ($module:ident, $database:ty, $connection:ty) => {
        pub(in crate::clients) mod $module {
            use sqlx::{Error, Pool, Transaction};

            use crate::{
                clients::{
                    audit::AuditEntry,
                    chain::{BATCH, Beginning, Head, Link},
                },
                clock::UnixMillis,
                sealing::{MasterKey, SealError},
            };

            type LinkRow =
                (i64, Option<i64>, Option<Vec<u8>>, UnixMillis, String, String, String, String);

            /// Entries after the one with this id.
            pub(in crate::clients) async fn links(
                pool: Pool<$database>,
                after: i64,
            ) -> Result<Vec<Link>, Error> {
                read(&mut *pool.acquire().await?, after).await
            }

            async fn read(
                connection: &mut $connection,
                after: i64,
            ) -> Result<Vec<Link>, Error> {
                let rows: Vec<LinkRow> = sqlx::query_as(
                    "/* audit chain */
                     SELECT id, number, digest, at, actor, act, subject, detail FROM audit
                     WHERE id > $1 ORDER BY id LIMIT $2",
                )
                .bind(after)
                .bind(BATCH)
                .fetch_all(connection)
                .await?;
                let link = |(id, number, digest, at, actor, act, subject, detail)| Link {
                    id,
                    number,
                    digest,
                    entry: AuditEntry { at, actor, act, subject, detail },
                };
                Ok(rows.into_iter().map(link).collect())
            }

            /// Numbers and digests alone, after this number.
            pub(in crate::clients) async fn digests(
                pool: Pool<$database>,
                after: i64,
            ) -> Result<Vec<(i64, Vec<u8>)>, Error> {
                sqlx::query_as(
                    "/* audit chain */
                     SELECT number, digest FROM audit WHERE number > $1 AND digest IS NOT NULL
                     ORDER BY number LIMIT $2",
                )
                .bind(after)
                .bind(BATCH)
                .fetch_all(&pool)
                .await
            }

            pub(in crate::clients) async fn head(
                pool: Pool<$database>,
            ) -> Result<Option<Head>, Error> {
                let row =
                    sqlx::query_as("/* audit head */ SELECT number, digest, mac FROM audit_head");
                Ok(row.fetch_optional(&pool).await?.map(from_row))
            }

            fn from_row((number, digest, mac): (i64, Vec<u8>, Vec<u8>)) -> Head {
                Head { number, digest, mac }
            }

            fn failed(error: SealError) -> Error {
                Error::Encode(error.into())
            }

            /// Locks the head for the rest of the transaction: entries follow each other.
            async fn lock(
                transaction: &mut Transaction<'_, $database>,
            ) -> Result<Option<Head>, Error> {
                let row = sqlx::query_as(
                    "/* audit head */ UPDATE audit_head SET number = number RETURNING number, digest, mac",
                );
                Ok(row.fetch_optional(&mut **transaction).await?.map(from_row))
            }

            async fn write(
                transaction: &mut Transaction<'_, $database>,
                head: &Head,
            ) -> Result<(), Error> {
                sqlx::query("/* audit head */ UPDATE audit_head SET number = $1, digest = $2, mac = $3")
                    .bind(head.number)
                    .bind(&head.digest)
                    .bind(&head.mac)
                    .execute(&mut **transaction)
                    .await
                    .map(|_| ())
            }

            /// Moves the head on by an entry; returns it. `None`: there is no chain to put the entry into.
            pub(in crate::clients::sql) async fn extend(
                transaction: &mut Transaction<'_, $database>,
                entry: &AuditEntry,
                key: &MasterKey,
            ) -> Result<Option<Head>, Error> {
                let Some(head) = lock(transaction).await? else { return Ok(None) };
                let head = head.followed_by(key, entry).map_err(failed)?;
                write(transaction, &head).await?;
                Ok(Some(head))
            }

            /// Begins the chain after all entries that there are, unless it has begun.
            pub(in crate::clients) async fn begin(
                pool: Pool<$database>,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let mut transaction = pool.begin().await?;
                if lock(&mut transaction).await?.is_some() {
                    return Ok(());
                }
                let (mut beginning, mut after) = (Beginning::new(), i64::MIN);
                loop {
                    let links = read(&mut transaction, after).await?;
                    for link in &links {
                        beginning.add(&link.entry);
                    }
                    match links.last() {
                        Some(last) => after = last.id,
                        None => break,
                    }
                }
                let head = beginning.head(key).map_err(failed)?;
                sqlx::query(
                    "/* audit head */
                     INSERT INTO audit_head (one, number, digest, mac) VALUES (1, $1, $2, $3)
                     ON CONFLICT (one) DO NOTHING",
                )
                .bind(head.number)
                .bind(&head.digest)
                .bind(&head.mac)
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await
            }

            /// Computes the MAC of the head again, if it holds.
            pub(in crate::clients) async fn restamp(
                pool: Pool<$database>,
                key: &MasterKey,
            ) -> Result<(), Error> {
                let mut transaction = pool.begin().await?;
                if let Some(head) = lock(&mut transaction).await?.filter(|head| head.holds(key)) {
                    let head = Head::new(key, head.number, head.digest).map_err(failed)?;
                    write(&mut transaction, &head).await?;
                }
                transaction.commit().await
            }
        }
    };
}

statements!(sqlite, sqlx::Sqlite, sqlx::SqliteConnection);
statements!(postgres, sqlx::Postgres, sqlx::PgConnection);
