-- From where, proven how, and with which outcome. All three are null in entries of programs that did not know of them:
-- the digest of such an entry leaves them out.
ALTER TABLE audit ADD COLUMN address text;
-- `token`, `system` …; null for a client of the API.
ALTER TABLE audit ADD COLUMN proof text;
-- `begun`, `done`, `refused` or `failed`.
ALTER TABLE audit ADD COLUMN outcome text;

-- For the entries of a time, of an act, of a user, and of a client.
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_act ON audit (act, at, id);
CREATE INDEX audit_actor ON audit (actor COLLATE "C", at, id);
CREATE INDEX audit_subject ON audit (subject, at, id);
