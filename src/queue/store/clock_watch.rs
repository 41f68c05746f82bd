//! Reads the clock of the database and repairs leases after a step of it.

use super::Store;
use crate::queue::QueueError;

impl Store {
    /// Reads the clock of the database and repairs leases after a step of it; to be called every
    /// second. Returns how far it is ahead of the clock of this process, milliseconds.
    ///
    /// # Errors
    /// [`QueueError::Database`].
    pub async fn watch_clock(&self) -> Result<i64, QueueError> {
        let asked = self.clock.steady();
        let (date, early) = self
            .db
            .read(
                "clock_step",
                "SELECT visavis_millis(visavis_now($1)) AS now, count(*) AS jobs FROM job
                 WHERE finished_at IS NULL AND due_from > visavis_now($1) AND due_at > due_from",
            )
            .bind(&self.clock)
            .one(|row| Ok((row.get::<i64>("now")?, row.get::<i64>("jobs")?)))
            .await?;
        let dated = if early > 0 { self.date_again().await? } else { 0 };
        if let Some(step_ms) = self.lease_clock.read(date, asked, &self.clock) {
            tracing::warn!(step_ms, "the clock of the database was changed");
        }
        if dated > 0 {
            tracing::warn!(
                jobs = dated,
                "leases and retry delays began in the future: their ends were moved back"
            );
        }
        Ok(date - self.clock.now())
    }

    /// Moves the ends of leases and retry delays that begin in the future, because the clock was
    /// set back since: they end no later than before. Returns how many were moved.
    async fn date_again(&self) -> Result<u64, QueueError> {
        let dated = self.db.write(
            "date_again",
            "UPDATE job
             SET due_from = visavis_now($1), due_at = visavis_now($1) + (due_at - due_from)
             WHERE finished_at IS NULL AND due_from > visavis_now($1) AND due_at > due_from",
        );
        Ok(dated.bind(&self.clock).run().await?)
    }
}
