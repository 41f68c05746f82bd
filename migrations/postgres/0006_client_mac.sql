-- HMAC-SHA-256 over the client and all its key sets, under a key derived from the master key. Null: stored by a program
-- that did not know of it; the first start afterwards fills it in, and null is an error from then on.
ALTER TABLE client ADD COLUMN mac bytea;
