-- The false match rate at which the decisions of a client turn, and the one for portraits on documents. Null:
-- the settings of the installation count, as they did before this step.
ALTER TABLE client
    ADD COLUMN fmr double precision CHECK (fmr BETWEEN 1e-6 AND 1e-1),
    ADD COLUMN document_fmr double precision CHECK (document_fmr BETWEEN 1e-6 AND 1e-1);
