-- Serves operators who look for the transactions of a tracing id, the latest first.
CREATE INDEX job_biz_id ON job (biz_id, transaction_id);
