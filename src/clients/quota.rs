//! Counting comparisons against daily quotas.

use std::num::NonZeroU32;

use super::{error::ClientError, store::ClientStore};

impl ClientStore {
    /// Counts a comparison of today, UTC, against a quota; returns the day, or `None` if that was
    /// used up.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn count_comparison(
        &self,
        client_id: &str,
        quota: NonZeroU32,
    ) -> Result<Option<i64>, ClientError> {
        let day = self.clock.day();
        // Only while there are fewer than the quota.
        let count = self.db.write_once(
            "quota_count",
            "INSERT INTO client_usage (client_id, day, comparisons) VALUES ($1, $2, 1)
             ON CONFLICT (client_id, day) DO UPDATE SET comparisons = client_usage.comparisons + 1
             WHERE client_usage.comparisons < $3",
        );
        let counted = count.bind(client_id).bind(day).bind(i64::from(quota.get())).run().await? > 0;
        Ok(counted.then_some(day))
    }

    /// Takes back a count of that day whose comparison was not made.
    ///
    /// # Errors
    /// [`ClientError::Database`].
    pub async fn uncount_comparison(&self, client_id: &str, day: i64) -> Result<(), ClientError> {
        let uncount = self.db.write_once(
            "quota_uncount",
            "UPDATE client_usage SET comparisons = comparisons - 1
             WHERE client_id = $1 AND day = $2 AND comparisons > 0",
        );
        uncount.bind(client_id).bind(day).run().await?;
        Ok(())
    }
}
