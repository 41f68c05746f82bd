//! What a Postgres server is asked apart from its tables of jobs and clients: its clock, and its
//! number in the installation.

use super::{DbError, postgres::PostgresDb};
use crate::clock::Clock;

impl PostgresDb {
    /// How far the database's clock is ahead of `clock`, milliseconds, to within the time of a
    /// call.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn skew_ms(&self, clock: &Clock) -> Result<i64, sqlx::Error> {
        let there = self.statement("clock", "SELECT visavis_millis(clock_timestamp()) AS now");
        Ok(there.one(|row| row.get::<i64>("now")).await? - clock.now())
    }

    /// Makes this the database with that number of the installation, once and for all.
    ///
    /// # Errors
    /// [`DbError::OtherShard`] when it is the one with another number already.
    pub async fn claim_number(&self, number: u32) -> Result<(), DbError> {
        let claim = self.statement(
            "shard_claim",
            "INSERT INTO shard (number) VALUES (CAST($1 AS integer)) ON CONFLICT DO NOTHING",
        );
        let claimed = claim.bind(i64::from(number)).run().await;
        claimed.map_err(|error| self.failed(&error))?;
        self.check_number(number).await
    }

    /// Whether it is the database with that number, or has none yet; changes nothing.
    ///
    /// # Errors
    /// [`DbError::OtherShard`] when it is the one with another number.
    pub(crate) async fn check_number(&self, number: u32) -> Result<(), DbError> {
        let asked = i64::from(number);
        let is = self
            .statement("shard_number", "SELECT CAST(number AS bigint) AS number FROM shard")
            .optional(|row| row.get("number"))
            .await
            .map_err(|error| self.failed(&error))?;
        match is {
            Some(is) if is != asked => Err(DbError::OtherShard { path: self.name(), is, asked }),
            _ => Ok(()),
        }
    }
}
