//! Re-encrypting stored pictures after a rotation of the master key, and the disk usage of the
//! tables.

use super::{Store, rows::payload_label};
use crate::{
    db::{Db, Sql},
    queue::{JobId, QueueError},
    sealing::MasterKey,
};

/// How many pairs of pictures one statement reads to re-encrypt them.
const BATCH: i64 = 16;

/// The sealed pictures of a job.
struct Payload {
    job: JobId,
    transaction_id: String,
    probe: Vec<u8>,
    reference: Vec<u8>,
}

impl Store {
    /// Re-encrypts all stored pictures under the current key; returns how many pairs there were.
    /// With `dry` it only checks that all of them open with that key alone.
    ///
    /// # Errors
    /// [`QueueError::Database`], or [`QueueError::Seal`] when one does not open.
    pub async fn reseal(&self, dry: bool) -> Result<u64, QueueError> {
        let reading = if dry { self.key.current() } else { self.key.clone() };
        let (mut last, mut count) = (i64::MIN, 0);
        loop {
            let batch = self.db.write(
                "payload_batch",
                "SELECT job_id, transaction_id, probe, reference
                 FROM job_payload JOIN job ON job.id = job_id
                 WHERE job_id > $1 ORDER BY job_id LIMIT $2",
            );
            let batch = batch.bind(last).bind(BATCH).all(|row| {
                Ok(Payload {
                    job: row.get("job_id")?,
                    transaction_id: row.get("transaction_id")?,
                    probe: row.get("probe")?,
                    reference: row.get("reference")?,
                })
            });
            let batch = batch.await?;
            let Some(highest) = batch.last() else { return Ok(count) };
            last = highest.job;
            for payload in &batch {
                count += 1;
                self.reseal_one(payload, &reading, dry).await?;
            }
        }
    }

    async fn reseal_one(
        &self,
        payload: &Payload,
        reading: &MasterKey,
        dry: bool,
    ) -> Result<(), QueueError> {
        let again = |side: &str, sealed: &[u8]| -> Result<Vec<u8>, QueueError> {
            let label = payload_label(&payload.transaction_id, side);
            Ok(self.key.seal(&label, &reading.open(&label, sealed)?)?)
        };
        let probe = again("probe", &payload.probe)?;
        let reference = again("reference", &payload.reference)?;
        if dry {
            return Ok(());
        }
        // A job that has ended meanwhile has no pictures left.
        self.db
            .write(
                "payload_reseal",
                "UPDATE job_payload SET probe = $2, reference = $3 WHERE job_id = $1",
            )
            .bind(payload.job)
            .bind(probe.as_slice())
            .bind(reference.as_slice())
            .run()
            .await?;
        Ok(())
    }

    /// The disk usage of the tables, as names and values of metrics.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn disk_usage(&self) -> Result<[(&'static str, f64); 2], QueueError> {
        let names = match &self.db {
            Db::Sqlite(_) => ["visavis_database_bytes", "visavis_database_free_bytes"],
            Db::Postgres(_) => ["visavis_payload_bytes", "visavis_dead_tuples"],
        };
        // SQLite has free pages in its file, Postgres dead rows in its tables.
        let usage = Sql::Each {
            sqlite: "SELECT page_count * page_size AS used, freelist_count * page_size AS spare
                     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
            postgres: "SELECT pg_total_relation_size('job_payload') AS used,
                           (SELECT CAST(coalesce(sum(n_dead_tup), 0) AS bigint)
                            FROM pg_stat_user_tables
                            WHERE relid IN ('job'::regclass, 'job_payload'::regclass)) AS spare",
        };
        let usage = self.db.read("disk_usage", usage);
        let (used, spare): (i64, i64) =
            usage.one(|row| Ok((row.get("used")?, row.get("spare")?))).await?;
        Ok([(names[0], used as f64), (names[1], spare as f64)])
    }
}
