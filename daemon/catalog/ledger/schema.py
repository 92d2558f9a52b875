"""The ledger's tables, its migrations and its legal state changes. Used by `store` when a ledger is opened.

docs/on-disk-format.md describes every table. A migration is added to the end, never edited: `user_version`
counts them.
"""

LEGAL_CHANGES: dict[str, dict[str, tuple[str, ...]]] = {
    "batches": {
        "claiming": ("open", "cancelled"),
        "open": ("done", "split", "set_aside", "undone"),
        "done": ("undone",),
        "undone": ("done",),
    },
    "files": {
        "claiming": ("claimed", "vanished"),
        "claimed": ("staged", "duplicate", "set_aside", "returned"),
        "staged": ("claimed", "ingested", "set_aside", "undone"),  # back to claimed when its batch is split
        "ingested": ("undone",),
        "undone": ("ingested",),
        "set_aside": ("replayed", "discarded"),
    },
    "promotions": {
        "planned": ("done", "failed"),
    },
    "rebuilds": {
        "requested": ("building", "done", "failed"),
        "building": ("requested", "done", "failed"),
        "failed": ("requested",),
    },
}
"""Per table: state -> the states it may change to. A state without an entry is final."""

_TABLES = """
CREATE TABLE batches (
    batch_id    TEXT PRIMARY KEY,
    domain      TEXT NOT NULL,
    table_name  TEXT NOT NULL,
    state       TEXT NOT NULL,
    parent      TEXT,
    created_at  TEXT NOT NULL,
    done_at     TEXT
) WITHOUT ROWID;
CREATE INDEX batches_unfinished ON batches (state) WHERE state IN ('claiming', 'open');
CREATE INDEX batches_by_table ON batches (domain, table_name, batch_id);

CREATE TABLE files (
    file_id      INTEGER PRIMARY KEY,
    batch_id     TEXT NOT NULL REFERENCES batches,
    ordinal      INTEGER NOT NULL,
    domain       TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    name         TEXT NOT NULL,
    landing_path BLOB NOT NULL,
    claimed_path BLOB NOT NULL,
    size         INTEGER NOT NULL,
    mtime_ns     INTEGER NOT NULL,
    inode        INTEGER NOT NULL,
    sha256       TEXT,
    rows         INTEGER,
    state        TEXT NOT NULL,
    kind         TEXT,
    reason       TEXT,
    resting_path BLOB,
    at_rest      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX files_by_batch ON files (batch_id, ordinal);
CREATE INDEX files_by_name ON files (name);
CREATE INDEX files_by_size ON files (domain, table_name, size, state);
CREATE INDEX files_restless ON files (domain, table_name, state) WHERE at_rest = 0;
CREATE INDEX files_resting ON files (resting_path) WHERE resting_path IS NOT NULL;
CREATE INDEX files_kept ON files (file_id) WHERE resting_path = landing_path;

CREATE TABLE promotions (
    transition_id TEXT PRIMARY KEY,
    batch_id      TEXT NOT NULL REFERENCES batches,
    domain        TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    target_layer  TEXT NOT NULL,
    group_id      TEXT NOT NULL,
    state         TEXT NOT NULL,
    planned_at    TEXT NOT NULL,
    attempt       INTEGER NOT NULL DEFAULT 1,
    deaths        INTEGER NOT NULL DEFAULT 0,
    supersedes    TEXT,
    error_kind    TEXT,
    error         TEXT
) WITHOUT ROWID;
CREATE INDEX promotions_planned ON promotions (domain, table_name, target_layer, batch_id) WHERE state = 'planned';
CREATE INDEX promotions_by_batch ON promotions (batch_id);

CREATE TABLE attempts (
    transition_id TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    failed_at     TEXT NOT NULL,
    kind          TEXT NOT NULL,
    error         TEXT NOT NULL,
    PRIMARY KEY (transition_id, attempt)
) WITHOUT ROWID;

CREATE TABLE transitions (
    transition_id TEXT PRIMARY KEY,
    batch_id      TEXT NOT NULL,
    domain        TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    target_layer  TEXT NOT NULL,
    status        TEXT NOT NULL,
    completed_at  TEXT NOT NULL,
    filed         INTEGER NOT NULL DEFAULT 0,
    record        TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX transitions_unfiled ON transitions (filed) WHERE filed = 0;
CREATE INDEX transitions_by_batch ON transitions (batch_id);
CREATE INDEX transitions_by_table ON transitions (domain, table_name, transition_id);

CREATE TABLE layer_files (
    domain        TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    layer         TEXT NOT NULL,
    batch_id      TEXT NOT NULL,
    name          TEXT NOT NULL,
    rows          INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    sha256        TEXT NOT NULL,
    transition_id TEXT NOT NULL,
    PRIMARY KEY (domain, table_name, layer, batch_id)
) WITHOUT ROWID;

CREATE TABLE layers (
    domain      TEXT NOT NULL,
    table_name  TEXT NOT NULL,
    layer       TEXT NOT NULL,
    generation  INTEGER NOT NULL DEFAULT 1,
    version     INTEGER NOT NULL DEFAULT 0,
    rows        INTEGER NOT NULL DEFAULT 0,
    files       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (domain, table_name, layer)
) WITHOUT ROWID;

CREATE TABLE quarantine (
    transition_id TEXT NOT NULL,
    batch_id      TEXT NOT NULL,
    domain        TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    layer         TEXT NOT NULL,
    rule          TEXT NOT NULL,
    rows          INTEGER NOT NULL,
    path          TEXT NOT NULL,
    at            TEXT NOT NULL,
    PRIMARY KEY (transition_id, rule)
) WITHOUT ROWID;
CREATE INDEX quarantine_by_table ON quarantine (domain, table_name);

CREATE TABLE models (
    domain           TEXT NOT NULL,
    table_name       TEXT NOT NULL,
    contract_version TEXT NOT NULL,
    inputs           TEXT NOT NULL,
    batch_id         TEXT NOT NULL,
    rows             INTEGER NOT NULL,
    error            TEXT,
    PRIMARY KEY (domain, table_name)
) WITHOUT ROWID;

CREATE TABLE removals (
    path   TEXT PRIMARY KEY,
    due_at TEXT NOT NULL
) WITHOUT ROWID;
"""


_REBUILDS = """
CREATE TABLE rebuilds (
    rebuild_id   TEXT PRIMARY KEY,
    domain       TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    kind         TEXT NOT NULL,
    base         TEXT NOT NULL,
    state        TEXT NOT NULL,
    batches      TEXT,
    files_out    TEXT NOT NULL DEFAULT '[]',
    files_back   TEXT NOT NULL DEFAULT '[]',
    why          TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    ended_at     TEXT,
    error        TEXT
) WITHOUT ROWID;
CREATE INDEX rebuilds_active ON rebuilds (domain, table_name, rebuild_id) WHERE state IN ('requested', 'building');
CREATE INDEX files_replayed ON files (domain, table_name) WHERE state = 'replayed';
CREATE INDEX transitions_shadow ON transitions (table_name) WHERE table_name GLOB '*~';

ALTER TABLE files ADD COLUMN part_of INTEGER REFERENCES files;
ALTER TABLE files ADD COLUMN sheet TEXT;
CREATE INDEX files_parts ON files (part_of) WHERE part_of IS NOT NULL;

CREATE TABLE verdicts (
    domain       TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    batch_id     TEXT NOT NULL,
    source_file  TEXT NOT NULL,
    source_row   INTEGER NOT NULL,
    verdict      TEXT NOT NULL,
    rule         TEXT NOT NULL,
    why          TEXT NOT NULL,
    at           TEXT NOT NULL,
    PRIMARY KEY (domain, table_name, batch_id, source_file, source_row)
) WITHOUT ROWID;

CREATE TABLE quarantine_files (
    transition_id TEXT NOT NULL,
    rule          TEXT NOT NULL,
    source_file   TEXT NOT NULL,
    rows          INTEGER NOT NULL,
    PRIMARY KEY (transition_id, rule, source_file)
) WITHOUT ROWID;

CREATE TABLE schema_changes (
    change_id     INTEGER PRIMARY KEY,
    domain        TEXT NOT NULL,
    table_name    TEXT NOT NULL,
    batch_id      TEXT NOT NULL,
    at            TEXT NOT NULL,
    kind          TEXT NOT NULL,
    column_name   TEXT NOT NULL,
    before        TEXT,
    after         TEXT
);
CREATE INDEX schema_changes_by_table ON schema_changes (domain, table_name, change_id);

CREATE TABLE learned (
    domain       TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    state        TEXT NOT NULL,
    PRIMARY KEY (domain, table_name)
) WITHOUT ROWID;
"""


def _guards(*tables: str) -> str:
    """Triggers that abort an illegal state change, whoever tries it."""
    statements = []
    for table in tables:
        changes = LEGAL_CHANGES[table]
        legal = " OR ".join(
            f"(OLD.state = '{old}' AND NEW.state IN ({', '.join(repr(state) for state in new)}))"
            for old, new in changes.items()
        )
        statements.append(
            f"DROP TRIGGER IF EXISTS {table}_guard; "
            f"CREATE TRIGGER {table}_guard BEFORE UPDATE OF state ON {table} WHEN NOT ({legal}) BEGIN "
            f"SELECT RAISE(ABORT, 'illegal state change in {table}'); END;"
        )
    return "\n".join(statements)


_GROWTH = """
CREATE TABLE file_counts (
    domain       TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    state        TEXT NOT NULL,
    files        INTEGER NOT NULL,
    PRIMARY KEY (domain, table_name, state)
) WITHOUT ROWID;
INSERT INTO file_counts SELECT domain, table_name, state, count(*) FROM files GROUP BY 1, 2, 3;
CREATE TRIGGER files_counted AFTER INSERT ON files BEGIN
    INSERT INTO file_counts VALUES (NEW.domain, NEW.table_name, NEW.state, 1) ON CONFLICT DO UPDATE SET files = files + 1;
END;
CREATE TRIGGER files_recounted AFTER UPDATE OF state ON files WHEN OLD.state <> NEW.state BEGIN
    UPDATE file_counts SET files = files - 1
        WHERE domain = OLD.domain AND table_name = OLD.table_name AND state = OLD.state;
    INSERT INTO file_counts VALUES (NEW.domain, NEW.table_name, NEW.state, 1) ON CONFLICT DO UPDATE SET files = files + 1;
END;
DROP INDEX files_by_size;
CREATE INDEX files_by_content ON files (domain, table_name, size, sha256);
CREATE INDEX files_set_aside ON files (file_id) WHERE state = 'set_aside';

DROP INDEX quarantine_by_table;
CREATE INDEX quarantine_by_table ON quarantine (domain, table_name, rule, rows);
CREATE INDEX quarantine_by_batch ON quarantine (batch_id);
CREATE INDEX verdicts_discarded ON verdicts (domain, table_name, batch_id, rule) WHERE verdict = 'discarded';

ALTER TABLE layer_files ADD COLUMN contract_version TEXT NOT NULL DEFAULT 'none';
UPDATE layer_files SET contract_version = coalesce(
    (SELECT json_extract(record, '$.contract_version') FROM transitions AS t
     WHERE t.transition_id = layer_files.transition_id), 'none');
CREATE INDEX layer_files_by_contract ON layer_files (domain, table_name, layer, contract_version);

ALTER TABLE layer_files ADD COLUMN merged INTEGER NOT NULL DEFAULT 0;
CREATE INDEX layer_files_alone ON layer_files (domain, table_name, layer, batch_id) WHERE merged = 0;
CREATE INDEX layer_files_merged ON layer_files (domain, table_name, layer, name) WHERE merged = 1;
CREATE TABLE merged_files (
    domain      TEXT NOT NULL,
    table_name  TEXT NOT NULL,
    layer       TEXT NOT NULL,
    name        TEXT NOT NULL,
    first_batch TEXT NOT NULL,
    batches     INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    PRIMARY KEY (domain, table_name, layer, name)
) WITHOUT ROWID;
"""


MIGRATIONS: tuple[str, ...] = (
    _TABLES + _guards("batches", "files", "promotions"),
    _REBUILDS + _guards("batches", "files", "promotions", "rebuilds"),
    _GROWTH,
)
"""Each brings a ledger from version i to i + 1."""
