-- Fairness: the jobs of one client wait behind one another and not before those of the others. A job gets
-- its turn when it is stored (start-time fair queueing): one more than the last of its own client, and
-- never less than what is next at that moment. Jobs from before this step keep their order by number.
ALTER TABLE job ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;

-- Serves claims: new jobs, retries and expired leases alike. The few rows at its beginning that are not due
-- are running or wait for a retry.
CREATE INDEX job_turn ON job (turn, id) WHERE state IN (0, 1);
-- Serves the last turn of a client, and how much of the queue is whose.
CREATE INDEX job_client ON job (client_id, turn) WHERE state IN (0, 1);
DROP INDEX job_due;
