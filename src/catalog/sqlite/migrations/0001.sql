CREATE TABLE projects (
    name TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE repos (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (project, name, kind)
);

-- `jump` leads to an ancestor some powers of two back, so that ancestors are
-- found in logarithmic time. It may dangle after a deletion: then the parent
-- is the way. It is no foreign key, so that an insert costs no index on it.
CREATE TABLE commits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    repo INTEGER NOT NULL REFERENCES repos (key),
    id BLOB NOT NULL,
    branch TEXT,
    parent INTEGER REFERENCES commits (seq),
    number INTEGER NOT NULL,
    jump INTEGER,
    origin TEXT NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    error TEXT,
    root BLOB NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (repo, id)
);
CREATE INDEX commits_by_set ON commits (id, seq);
CREATE INDEX commits_by_repo ON commits (repo, seq);
CREATE INDEX commits_by_branch ON commits (repo, branch, seq);
CREATE INDEX commits_by_parent ON commits (parent);

CREATE TABLE provenance (
    derived INTEGER NOT NULL REFERENCES commits (seq),
    position INTEGER NOT NULL,
    upstream INTEGER NOT NULL REFERENCES commits (seq),
    PRIMARY KEY (derived, position)
) WITHOUT ROWID;
CREATE INDEX provenance_by_upstream ON provenance (upstream, derived);

CREATE TABLE branches (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    repo INTEGER NOT NULL REFERENCES repos (key),
    name TEXT NOT NULL,
    head INTEGER REFERENCES commits (seq),
    rule TEXT,
    created INTEGER NOT NULL,
    UNIQUE (repo, name)
);
CREATE INDEX branches_by_head ON branches (head);

CREATE TABLE branch_provenance (
    derived INTEGER NOT NULL REFERENCES branches (key),
    position INTEGER NOT NULL,
    upstream INTEGER NOT NULL REFERENCES branches (key),
    PRIMARY KEY (derived, position)
) WITHOUT ROWID;
CREATE INDEX branch_provenance_by_upstream ON branch_provenance (upstream, derived);

-- One row: grows with every change to branch_provenance.
CREATE TABLE wiring (version INTEGER NOT NULL);
INSERT INTO wiring VALUES (0);

CREATE TABLE pipelines (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    stopped INTEGER NOT NULL,
    UNIQUE (project, name)
);

CREATE TABLE pipeline_versions (
    pipeline INTEGER NOT NULL REFERENCES pipelines (key),
    version INTEGER NOT NULL,
    spec_commit BLOB NOT NULL,
    spec TEXT NOT NULL,
    salt TEXT NOT NULL,
    inputs TEXT NOT NULL,
    output_branch TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (pipeline, version)
);

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline INTEGER NOT NULL REFERENCES pipelines (key),
    id BLOB NOT NULL,
    version INTEGER NOT NULL,
    spec_commit BLOB NOT NULL,
    inputs TEXT NOT NULL,
    output TEXT NOT NULL,
    base BLOB,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    total INTEGER NOT NULL,
    processed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    recovered INTEGER NOT NULL,
    downloaded INTEGER NOT NULL,
    uploaded INTEGER NOT NULL,
    download_nanos INTEGER NOT NULL,
    process_nanos INTEGER NOT NULL,
    upload_nanos INTEGER NOT NULL,
    restarts INTEGER NOT NULL,
    created INTEGER NOT NULL,
    started INTEGER,
    finished INTEGER,
    UNIQUE (pipeline, id)
);
CREATE INDEX jobs_by_pipeline ON jobs (pipeline, seq);
CREATE INDEX jobs_by_set ON jobs (id, seq);
CREATE INDEX jobs_by_state ON jobs (state, seq);

CREATE TABLE datums (
    job INTEGER NOT NULL REFERENCES jobs (seq),
    position INTEGER NOT NULL,
    id BLOB NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    worker TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    payload BLOB NOT NULL,
    outcome BLOB NOT NULL,
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
CREATE INDEX datums_by_state ON datums (job, state, position);
CREATE INDEX datums_by_id ON datums (job, id);

CREATE TABLE transactions (
    id BLOB PRIMARY KEY,
    branch TEXT NOT NULL,
    base BLOB,
    state TEXT NOT NULL,
    host TEXT NOT NULL,
    staging TEXT NOT NULL,
    root BLOB NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    message TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome BLOB,
    created INTEGER NOT NULL,
    lease_until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX transactions_by_state ON transactions (state, created);

CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE secret_values (
    secret TEXT NOT NULL REFERENCES secrets (name),
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (secret, key)
) WITHOUT ROWID;

CREATE TABLE packs (
    id BLOB PRIMARY KEY,
    bytes INTEGER NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    event TEXT NOT NULL
);
CREATE TABLE consumers (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
