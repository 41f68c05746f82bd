-- When due_at was set, by the same clock: a date in the future tells that the clock was set back since. NULL: nobody waits for
-- due_at to come.
ALTER TABLE job ADD COLUMN due_from INTEGER;

-- Jobs that were never tried wait for nothing, whatever the clock shows.
UPDATE job SET due_at = 0 WHERE state = 0 AND attempt = 0;
