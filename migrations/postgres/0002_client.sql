-- The apps that may call, and the keys on both sides. Times are milliseconds since 1970-01-01T00:00:00Z,
-- by the clock of the process that wrote them: nothing here is a lease.

CREATE TABLE client (
    -- The Client-Id header.
    client_id   text        PRIMARY KEY,
    -- What the operator calls it.
    name        text        NOT NULL UNIQUE,
    -- Whether answers carry fields beyond the documented ones.
    extras      boolean     NOT NULL DEFAULT true,
    -- +1 on every change, so that a server notices without reading the keys again.
    revision    bigint      NOT NULL DEFAULT 1,
    created_at  bigint      NOT NULL,
    disabled_at bigint
);

CREATE TABLE client_key (
    client_id    text        NOT NULL REFERENCES client (client_id) ON DELETE CASCADE,
    -- 1, 2, 3 …: keyVersion in the headers of clients that send it.
    version      bigint      NOT NULL,
    -- The client's public key, SubjectPublicKeyInfo DER.
    merchant_key bytea       NOT NULL,
    -- This server's private key for the client, PKCS#8 DER, sealed.
    server_key   bytea       NOT NULL,
    access_key   text        NOT NULL UNIQUE,
    -- The AK/SK secret, sealed.
    secret_key   bytea       NOT NULL,
    created_at   bigint      NOT NULL,
    -- Until when it may be used after a newer one was made; null for the newest.
    expires_at   bigint,
    PRIMARY KEY (client_id, version)
);

-- Keys of the server itself, by what they are for.
CREATE TABLE server_key (
    purpose    text        PRIMARY KEY,
    -- PKCS#8 DER, sealed.
    sealed     bytea       NOT NULL,
    created_at bigint NOT NULL
);
