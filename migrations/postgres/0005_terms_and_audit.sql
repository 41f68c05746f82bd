-- What a client may do beyond the settings of the installation, as JSON; null: nothing of its own. One column, because
-- it is read whole and written whole.
ALTER TABLE client ADD COLUMN terms text;

-- Comparisons that were accepted, by day (days since 1970-01-01, UTC); kept for clients that have a quota.
CREATE TABLE client_usage (
    client_id   text   NOT NULL REFERENCES client (client_id) ON DELETE CASCADE,
    day         bigint NOT NULL,
    comparisons bigint NOT NULL CHECK (comparisons >= 0),
    PRIMARY KEY (client_id, day)
);

-- Who did what to clients, keys and transactions. Only ever added to.
CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Milliseconds since 1970-01-01T00:00:00Z.
    at      bigint NOT NULL,
    -- The user of the system or of the console.
    actor   text   NOT NULL,
    -- `client add`, `client rotate`, `erase` …
    act     text   NOT NULL,
    -- Whom or what it was done to; never what is personal.
    subject text   NOT NULL,
    -- What was changed, as JSON; no key and no secret.
    detail  text   NOT NULL
);
