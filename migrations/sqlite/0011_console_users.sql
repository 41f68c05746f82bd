-- The people who use the console.
CREATE TABLE console_user (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    -- The name in lower case: no two names differ in case only.
    name_key        TEXT    NOT NULL UNIQUE,
    -- viewer, operator or administrator.
    role            TEXT    NOT NULL,
    -- Argon2id, as a PHC string.
    password        TEXT    NOT NULL,
    -- Secret of the one-time codes, sealed under the master key; null: no second factor.
    code_key        BLOB,
    -- Time step of the last code that was accepted: a code is accepted once.
    code_step       INTEGER NOT NULL,
    -- Raised by every change; sessions of an earlier revision have ended.
    revision        INTEGER NOT NULL,
    -- Times are milliseconds since 1970-01-01T00:00:00Z.
    created_at      INTEGER NOT NULL,
    disabled_at     INTEGER,
    -- Wrong logins since the last right one.
    failures        INTEGER NOT NULL,
    locked_until    INTEGER NOT NULL,
    last_login_at   INTEGER,
    last_login_from TEXT,
    -- HMAC-SHA-256 over what decides who can log in and what they may do.
    mac             BLOB    NOT NULL
) STRICT;

-- Logins to the console.
CREATE TABLE console_session (
    -- SHA-256 of the cookie.
    digest   BLOB    NOT NULL PRIMARY KEY,
    -- Null: a login with the token.
    user_id  TEXT    REFERENCES console_user (id) ON DELETE CASCADE,
    -- The revision of the user at the login.
    revision INTEGER NOT NULL,
    -- SHA-256 of the token, which ends the session when it is replaced.
    token    BLOB,
    begun_at INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL,
    address  TEXT,
    -- token, password, password-and-code …
    proof    TEXT    NOT NULL,
    -- HMAC-SHA-256 over all but seen_at.
    mac      BLOB    NOT NULL
) STRICT;
CREATE INDEX console_session_user ON console_session (user_id);
