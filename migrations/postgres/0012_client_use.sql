-- When it last used the API, milliseconds since 1970-01-01T00:00:00Z, to a minute; null: not since this column exists.
-- Decides nothing, so the MAC leaves it out.
ALTER TABLE client ADD COLUMN last_used_at bigint;
