-- Version 3: a digest of every row (lashley.ledger.seal); NULL in rows that were written before.

ALTER TABLE sweeps ADD COLUMN digest BLOB;
ALTER TABLE chunks ADD COLUMN digest BLOB;
ALTER TABLE estimates ADD COLUMN digest BLOB;
ALTER TABLE exclusions ADD COLUMN digest BLOB;
ALTER TABLE notes ADD COLUMN digest BLOB;
