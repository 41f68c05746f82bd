-- The apps that may call, and the keys on both sides.

CREATE TABLE client (
    -- The Client-Id header.
    client_id     TEXT    PRIMARY KEY,
    -- What the operator calls it.
    name          TEXT    NOT NULL UNIQUE,
    -- The client's public key, SubjectPublicKeyInfo DER.
    merchant_key  BLOB    NOT NULL,
    -- This server's private key for the client, PKCS#8 DER, sealed.
    server_key    BLOB    NOT NULL,
    access_key    TEXT    NOT NULL UNIQUE,
    -- The AK/SK secret, sealed.
    secret_key    BLOB    NOT NULL,
    -- 1: answers carry fields beyond the documented ones.
    extras        INTEGER NOT NULL DEFAULT 1,
    -- +1 on every change, so that a server notices without reading the keys again.
    version       INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT;

-- Keys of the server itself, by what they are for.
CREATE TABLE server_key (
    purpose    TEXT    PRIMARY KEY,
    -- PKCS#8 DER, sealed.
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
