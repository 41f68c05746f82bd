-- Who logged in at an OpenID provider: no user, but a name and the role of the groups there; null in all other sessions.
ALTER TABLE console_session ADD COLUMN person TEXT;
-- viewer, operator or administrator.
ALTER TABLE console_session ADD COLUMN role TEXT;
