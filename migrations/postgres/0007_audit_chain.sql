-- 1, 2, 3 …; null for entries that are older than the chain.
ALTER TABLE audit ADD COLUMN number bigint;
-- SHA-256 over the entry and the digest of the one before it.
ALTER TABLE audit ADD COLUMN digest bytea;
CREATE UNIQUE INDEX audit_number ON audit (number);

-- Where the chain ends; one row.
CREATE TABLE audit_head (
    one    integer PRIMARY KEY CHECK (one = 1),
    -- Those of the last entry.
    number bigint  NOT NULL,
    digest bytea   NOT NULL,
    -- HMAC-SHA-256 over both, under a key derived from the master key.
    mac    bytea   NOT NULL
);
