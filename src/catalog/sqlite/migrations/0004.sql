-- Calls gathered one by one, to be carried out together.
CREATE TABLE gathered (
    id BLOB PRIMARY KEY,
    calls BLOB NOT NULL,
    version INTEGER NOT NULL,
    started INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE file_sets (
    id BLOB PRIMARY KEY,
    root BLOB NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    created INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX file_sets_by_until ON file_sets (until);

-- What the author wrote, before defaults; empty where only the spec is known.
ALTER TABLE pipeline_versions ADD COLUMN user_spec TEXT NOT NULL DEFAULT '';
