-- The people who use the console.
CREATE TABLE console_user (
    id              text   PRIMARY KEY,
    name            text   NOT NULL,
    -- The name in lower case: no two names differ in case only.
    name_key        text   NOT NULL UNIQUE,
    -- viewer, operator or administrator.
    role            text   NOT NULL,
    -- Argon2id, as a PHC string.
    password        text   NOT NULL,
    -- Secret of the one-time codes, sealed under the master key; null: no second factor.
    code_key        bytea,
    -- Time step of the last code that was accepted: a code is accepted once.
    code_step       bigint NOT NULL,
    -- Raised by every change; sessions of an earlier revision have ended.
    revision        bigint NOT NULL,
    -- Times are milliseconds since 1970-01-01T00:00:00Z.
    created_at      bigint NOT NULL,
    disabled_at     bigint,
    -- Wrong logins since the last right one.
    failures        bigint NOT NULL,
    locked_until    bigint NOT NULL,
    last_login_at   bigint,
    last_login_from text,
    -- HMAC-SHA-256 over what decides who can log in and what they may do.
    mac             bytea  NOT NULL
);

-- Logins to the console.
CREATE TABLE console_session (
    -- SHA-256 of the cookie.
    digest   bytea  PRIMARY KEY,
    -- Null: a login with the token.
    user_id  text   REFERENCES console_user (id) ON DELETE CASCADE,
    -- The revision of the user at the login.
    revision bigint NOT NULL,
    -- SHA-256 of the token, which ends the session when it is replaced.
    token    bytea,
    begun_at bigint NOT NULL,
    seen_at  bigint NOT NULL,
    address  text,
    -- token, password, password-and-code …
    proof    text   NOT NULL,
    -- HMAC-SHA-256 over all but seen_at.
    mac      bytea  NOT NULL
);
CREATE INDEX console_session_user ON console_session (user_id);
