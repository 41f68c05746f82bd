-- The queue: one small hot row per transaction, and the two pictures apart from it. As on SQLite but for
-- types: times are timestamptz, and every one that decides about a lease is this database's own.

-- The present: this database's clock, or a time that a test has set.
CREATE FUNCTION visavis_now(set_millis bigint) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(to_timestamp(set_millis / 1000.0), statement_timestamp());

CREATE FUNCTION visavis_millis(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN floor(extract(epoch FROM moment) * 1000)::bigint;

CREATE TABLE job (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the client calls the transaction.
    transaction_id text        NOT NULL UNIQUE,
    -- Who may ask for the outcome.
    client_id      text        NOT NULL,
    -- The client's own tracing id; not unique and not an idempotency key.
    biz_id         text        NOT NULL,
    -- SHA-256 of client and request signature: a retry of one signed request is one transaction.
    dedupe         bytea       UNIQUE,
    -- 0 queued, 1 running, 2 done (an outcome is there), 3 dead (given up).
    state          smallint    NOT NULL CHECK (state BETWEEN 0 AND 3),
    -- Queued: not before; running: when the lease ends and the job may be claimed again.
    due_at         timestamptz NOT NULL,
    -- Fencing token: +1 on every claim, never reset, checked on every write by a worker.
    token          bigint      NOT NULL DEFAULT 0,
    -- Claims so far; -1 when a worker hands the job back untouched.
    attempt        bigint      NOT NULL DEFAULT 0,
    -- The process that claimed it last, for people who look.
    owner          text,
    -- Size of the pictures, for admission control.
    bytes          bigint      NOT NULL,
    -- What the client asked for besides the pictures, as JSON.
    options        text        NOT NULL,
    -- The outcome as JSON: no picture, no embedding.
    outcome        text,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    CHECK ((finished_at IS NOT NULL) = (state IN (2, 3))),
    CHECK ((outcome IS NOT NULL) = (state = 2))
) WITH (
    -- Room for the next version of a row on the same page: state changes then touch no index page.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Serves new jobs, retries and expired leases alike.
CREATE INDEX job_due ON job (due_at, id) WHERE state IN (0, 1);
-- Serves retention.
CREATE INDEX job_finished ON job (finished_at) WHERE state IN (2, 3);

CREATE TABLE job_payload (
    job_id    bigint PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    -- Sealed with AES-256-GCM under the master key, which is not in this database.
    probe     bytea  NOT NULL,
    reference bytea  NOT NULL
) WITH (
    -- Pictures come and go: dead ones are cleared early and at full speed, or the table grows to many
    -- times what is alive in it.
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 50,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.0,
    toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0
);
-- Sealed bytes do not compress.
ALTER TABLE job_payload ALTER COLUMN probe SET STORAGE EXTERNAL, ALTER COLUMN reference SET STORAGE EXTERNAL;

-- A finished job has no pictures, whichever statement finished it.
CREATE FUNCTION job_drop_payload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM job_payload WHERE job_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER job_finished_drops_payload AFTER UPDATE OF state ON job
    FOR EACH ROW WHEN (NEW.state IN (2, 3)) EXECUTE FUNCTION job_drop_payload();
