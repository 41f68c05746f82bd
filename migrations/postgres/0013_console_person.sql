-- Who logged in at an OpenID provider, as JSON: name, issuer, subject, groups; null for a user and for the token.
ALTER TABLE console_session ADD COLUMN person text;
-- The subject alone.
ALTER TABLE console_session ADD COLUMN subject text;
