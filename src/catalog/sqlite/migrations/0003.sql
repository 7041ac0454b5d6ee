-- The tree of a write transaction's base, which outlives the base itself.
ALTER TABLE transactions ADD COLUMN base_root BLOB;
