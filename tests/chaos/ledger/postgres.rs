//! The ledger of a Postgres database.

use sqlx::{PgPool, postgres::PgPoolOptions};
use visavis::db::without_idle_reaper;

use super::Entry;

/// The setting `chaos.process` of a session is the number of its process.
const LEDGER: &str = "
CREATE TABLE chaos_ledger (
    seq            bigserial PRIMARY KEY,
    job_id         bigint NOT NULL,
    transaction_id text   NOT NULL,
    process        bigint NOT NULL,
    old_state      bigint NOT NULL,
    new_state      bigint NOT NULL,
    old_attempt    bigint NOT NULL,
    new_attempt    bigint NOT NULL,
    old_token      bigint NOT NULL,
    new_token      bigint NOT NULL
);
CREATE INDEX chaos_ledger_job ON chaos_ledger (job_id, seq);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    present job := coalesce(NEW, OLD);
BEGIN
    INSERT INTO chaos_ledger (job_id, transaction_id, process, old_state, new_state, old_attempt, new_attempt,
                              old_token, new_token)
    VALUES (present.id, present.transaction_id,
            coalesce(nullif(current_setting('chaos.process', true), ''), '0')::bigint,
            coalesce(OLD.state, -1), coalesce(NEW.state, -1),
            coalesce(OLD.attempt, 0), coalesce(NEW.attempt, 0),
            coalesce(OLD.token, 0), coalesce(NEW.token, 0));
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note AFTER INSERT OR DELETE ON job FOR EACH ROW EXECUTE FUNCTION chaos_note();
-- After the clock was set back any process may date a lease again, which changes neither its length nor whose it is.
CREATE TRIGGER chaos_note_update AFTER UPDATE ON job FOR EACH ROW WHEN (NOT coalesce(
    NEW.state = OLD.state AND NEW.token = OLD.token AND NEW.due_from < OLD.due_from
    AND NEW.due_at - NEW.due_from = OLD.due_at - OLD.due_from, false)) EXECUTE FUNCTION chaos_note();
";

/// Every claim gets the token that every earlier one had, so its check passes every process.
const NO_TOKENS: &str = "
CREATE FUNCTION chaos_no_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.token := 1;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_no_tokens BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION chaos_no_tokens();
";

/// Jobs whose changes are read at a time.
const PAGE: i64 = 2_000;

/// Looks past the store, over connections that no proxy disturbs.
#[derive(Debug, Clone)]
pub struct PostgresBooks(PgPool);

impl PostgresBooks {
    /// Begins to keep books of a database that has the store's schema.
    pub async fn open(url: &str) -> Self {
        let pool = without_idle_reaper(PgPoolOptions::new()).connect(url).await.unwrap();
        sqlx::raw_sql(LEDGER).execute(&pool).await.unwrap();
        Self(pool)
    }

    /// Changes the database behind the store's back.
    pub async fn tamper(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.0).await.unwrap();
    }

    /// A number; asked again if the server has been restarted meanwhile.
    pub async fn number(&self, sql: &'static str) -> u64 {
        for _ in 0..50 {
            if let Ok(number) = sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.0).await {
                return number.unsigned_abs();
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the database does not respond: {sql}");
    }

    /// Jobs that are not at their end.
    pub async fn unfinished(&self) -> u64 {
        self.number("SELECT count(*) FROM job WHERE state IN (0, 1)").await
    }

    /// Pairs of pictures.
    pub async fn pictures(&self) -> u64 {
        self.number("SELECT count(*) FROM job_payload").await
    }

    /// Every change, job by job.
    pub async fn entries(&self) -> Vec<Entry> {
        let (mut entries, mut from) = (Vec::new(), 0);
        let last: Option<i64> = sqlx::query_scalar("SELECT max(job_id) FROM chaos_ledger")
            .fetch_one(&self.0)
            .await
            .unwrap();
        while from <= last.unwrap_or(-1) {
            let page = sqlx::query_as(
                "SELECT * FROM chaos_ledger WHERE job_id >= $1 AND job_id < $2 \
                 ORDER BY job_id, seq",
            )
            .bind(from)
            .bind(from + PAGE)
            .fetch_all(&self.0)
            .await
            .unwrap();
            entries.extend::<Vec<Entry>>(page);
            from += PAGE;
        }
        entries
    }
}

/// Makes the fencing token useless, without a change to the code under test.
pub async fn remove_token_check(books: &PostgresBooks) {
    books.tamper(NO_TOKENS).await;
}
