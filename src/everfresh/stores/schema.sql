-- One cache, one file. Numbers are positions in the store's order, times are unix seconds. What most entries do without
-- is NULL, 0 or empty: it then takes one byte, or none.

-- `n_marked` counts marks and probes since the last pruning. `boot` names the run of the machine in which the file was
-- last written, empty when every commit waits for the disk. `is_clean` says that nothing was written since it was closed.
CREATE TABLE counters (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    epoch         TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    applied       INTEGER NOT NULL,
    fired_floor   INTEGER NOT NULL,
    feed_floor    INTEGER NOT NULL,
    version_floor INTEGER NOT NULL,
    token         INTEGER NOT NULL,
    n_entries     INTEGER NOT NULL,
    n_bytes       INTEGER NOT NULL,
    n_marked      INTEGER NOT NULL,
    boot          TEXT    NOT NULL,
    is_clean      INTEGER NOT NULL
) STRICT;

-- `function` and `arguments` are the recipe, empty for a value that was put. `groups` name their shapes by id.
-- `is_ready` is NULL when the queue need not look at the entry, 0 while it waits for its time, 1 since that came.
CREATE TABLE entry (
    id            INTEGER PRIMARY KEY,
    key           TEXT    NOT NULL UNIQUE,
    function      TEXT    NOT NULL,
    arguments     BLOB    NOT NULL,
    state         TEXT    NOT NULL,
    fingerprint   TEXT    NOT NULL,
    digest        TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    good_from     INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    built_at      REAL    NOT NULL,
    build_s       REAL    NOT NULL,
    groups        BLOB,
    seen          BLOB,
    terms         BLOB,
    stale_since   REAL,
    reason        TEXT    NOT NULL,
    attempts      INTEGER NOT NULL,
    retry_at      REAL,
    due           REAL,
    token         INTEGER,
    until         REAL    NOT NULL,
    begun         INTEGER NOT NULL,
    n_died        INTEGER NOT NULL DEFAULT 0,
    expires_at    REAL,
    rank          REAL    NOT NULL,
    queued_at     REAL,
    event_at      REAL,
    event         BLOB,
    cause         BLOB,
    history       BLOB,
    builder       TEXT    NOT NULL,
    is_error      INTEGER NOT NULL,
    n_bytes       INTEGER NOT NULL,
    read_at       REAL    NOT NULL,
    watched_until REAL    NOT NULL,
    is_ready      INTEGER
) STRICT;

CREATE INDEX entry_waiting ON entry (function, due) WHERE is_ready = 0;
CREATE INDEX entry_ready ON entry (function, rank) WHERE is_ready = 1;
CREATE INDEX entry_leased ON entry (begun, until, function) WHERE token IS NOT NULL;
CREATE INDEX entry_read ON entry (read_at) WHERE version > 0;

-- Apart from the entry, so that a change of state does not write the value again.
CREATE TABLE value (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE link (
    bucket BLOB    NOT NULL,
    entry  INTEGER NOT NULL,
    PRIMARY KEY (bucket, entry)
) STRICT, WITHOUT ROWID;

-- The operands of a filtered bucket, as long as it has members.
CREATE TABLE condition (
    bucket   BLOB PRIMARY KEY,
    operands BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A mark is a bucket, or the id of a shape that was touched as a whole.
CREATE TABLE fired (
    mark     BLOB    PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (
    stem     BLOB    NOT NULL,
    sequence INTEGER NOT NULL,
    data     BLOB    NOT NULL,
    PRIMARY KEY (stem, sequence, data)
) STRICT, WITHOUT ROWID;

-- Those with a number are what publishers learn, in that order, from 1 without gaps; groups may have others.
CREATE TABLE shape (
    id     BLOB    PRIMARY KEY,
    data   BLOB    NOT NULL,
    number INTEGER UNIQUE,
    born   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE pace (
    function TEXT PRIMARY KEY,
    data     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE feed (
    sequence INTEGER PRIMARY KEY,
    key      TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    digest   TEXT    NOT NULL
) STRICT;

-- How far each source has come: written with what it stands for, and so apart from all else that is known of it.
CREATE TABLE source_offset (
    source TEXT PRIMARY KEY,
    text   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The reports of a source's consumers, newest first.
CREATE TABLE report (
    source TEXT PRIMARY KEY,
    data   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that nobody could read; the oldest has the lowest number.
CREATE TABLE unreadable (
    number INTEGER PRIMARY KEY,
    id     TEXT    NOT NULL UNIQUE,
    source TEXT    NOT NULL,
    data   BLOB    NOT NULL
) STRICT;
