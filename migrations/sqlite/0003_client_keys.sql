-- A client has a series of key sets, so that keys can be rotated while the app is being changed over:
-- the keys leave the client's row. Columns that are UNIQUE cannot be dropped, so the table is made anew.

CREATE TABLE client_key_moved AS
    SELECT client_id, merchant_key, server_key, access_key, secret_key, created_at FROM client;

CREATE TABLE client_rebuilt (
    -- The Client-Id header.
    client_id     TEXT    PRIMARY KEY,
    -- What the operator calls it.
    name          TEXT    NOT NULL UNIQUE,
    -- 1: answers carry fields beyond the documented ones.
    extras        INTEGER NOT NULL DEFAULT 1,
    -- +1 on every change, so that a server notices without reading the keys again.
    revision      INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT;
INSERT INTO client_rebuilt SELECT client_id, name, extras, version, created_at, disabled_at FROM client;
DROP TABLE client;
ALTER TABLE client_rebuilt RENAME TO client;

CREATE TABLE client_key (
    client_id     TEXT    NOT NULL REFERENCES client (client_id) ON DELETE CASCADE,
    -- 1, 2, 3 …: keyVersion in the headers of clients that send it.
    version       INTEGER NOT NULL,
    -- The client's public key, SubjectPublicKeyInfo DER.
    merchant_key  BLOB    NOT NULL,
    -- This server's private key for the client, PKCS#8 DER, sealed.
    server_key    BLOB    NOT NULL,
    access_key    TEXT    NOT NULL UNIQUE,
    -- The AK/SK secret, sealed.
    secret_key    BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    -- Until when it may be used after a newer one was made; null for the newest.
    expires_at    INTEGER,
    PRIMARY KEY (client_id, version)
) STRICT;
INSERT INTO client_key
    SELECT client_id, 1, merchant_key, server_key, access_key, secret_key, created_at, NULL FROM client_key_moved;
DROP TABLE client_key_moved;
