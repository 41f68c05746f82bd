-- The queue: one small hot row per transaction, and the two pictures apart from it.
-- Times are milliseconds since 1970-01-01T00:00:00Z.

CREATE TABLE job (
    -- AUTOINCREMENT: without it the number of a deleted job is given again, and an old lease fits.
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What the client calls the transaction.
    transaction_id TEXT    NOT NULL UNIQUE,
    -- Who may ask for the outcome.
    client_id      TEXT    NOT NULL,
    -- The client's own tracing id; not unique and not an idempotency key.
    biz_id         TEXT    NOT NULL,
    -- SHA-256 of client and request signature: a retry of one signed request is one transaction.
    dedupe         BLOB    UNIQUE,
    -- 0 queued, 1 running, 2 done (an outcome is there), 3 dead (given up).
    state          INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
    -- Queued: not before; running: when the lease ends and the job may be claimed again.
    due_at         INTEGER NOT NULL,
    -- Fencing token: +1 on every claim, never reset, checked on every write by a worker.
    token          INTEGER NOT NULL DEFAULT 0,
    -- Claims so far; -1 when a worker hands the job back untouched.
    attempt        INTEGER NOT NULL DEFAULT 0,
    -- The process that claimed it last, for people who look.
    owner          TEXT,
    -- Size of the pictures, for admission control.
    bytes          INTEGER NOT NULL,
    -- What the client asked for besides the pictures, as JSON.
    options        TEXT    NOT NULL,
    -- The outcome as JSON: no picture, no embedding.
    outcome        TEXT,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    finished_at    INTEGER,
    CHECK ((finished_at IS NOT NULL) = (state IN (2, 3))),
    CHECK ((outcome IS NOT NULL) = (state = 2))
) STRICT;

-- Serves new jobs, retries and expired leases alike.
CREATE INDEX job_due ON job (due_at, id) WHERE state IN (0, 1);
-- Serves retention.
CREATE INDEX job_finished ON job (finished_at) WHERE state IN (2, 3);

CREATE TABLE job_payload (
    job_id    INTEGER PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    -- Sealed with AES-256-GCM under the master key, which is not in this database.
    probe     BLOB NOT NULL,
    reference BLOB NOT NULL
) STRICT;

-- A finished job has no pictures, whichever statement finished it.
CREATE TRIGGER job_finished_drops_payload AFTER UPDATE OF state ON job
WHEN NEW.state IN (2, 3)
BEGIN
    DELETE FROM job_payload WHERE job_id = NEW.id;
END;
