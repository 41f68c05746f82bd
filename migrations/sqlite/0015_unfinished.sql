-- The indexes of unfinished and of finished jobs name no column that a claim or a retry changes, as on Postgres, so that one text of a
-- statement serves both.
DROP INDEX job_turn;
DROP INDEX job_client;
DROP INDEX job_finished;
-- Serves claims: new jobs, retries and expired leases alike.
CREATE INDEX job_turn ON job (turn, id) WHERE finished_at IS NULL;
-- Serves the last turn of a client, and how much of the queue is whose.
CREATE INDEX job_client ON job (client_id, turn) WHERE finished_at IS NULL;
-- Serves retention.
CREATE INDEX job_finished ON job (finished_at) WHERE finished_at IS NOT NULL;
