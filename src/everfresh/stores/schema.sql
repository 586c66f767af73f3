-- One cache, one file. Numbers are positions in the store's order, times are unix seconds.

CREATE TABLE counters (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    epoch         TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    applied       INTEGER NOT NULL,
    fired_floor   INTEGER NOT NULL,
    feed_floor    INTEGER NOT NULL,
    version_floor INTEGER NOT NULL,
    token         INTEGER NOT NULL
) STRICT;

-- `function` and `arguments` are the recipe, empty for a value that was put.
CREATE TABLE entry (
    id          INTEGER PRIMARY KEY,
    key         TEXT    NOT NULL UNIQUE,
    function    TEXT    NOT NULL,
    arguments   BLOB    NOT NULL,
    state       TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    good_from   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    built_at    REAL    NOT NULL,
    build_s     REAL    NOT NULL,
    groups      BLOB    NOT NULL,
    seen        BLOB    NOT NULL,
    on_change   TEXT    NOT NULL,
    stale_since REAL,
    reason      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    retry_at    REAL,
    due         REAL,
    token       INTEGER,
    until       REAL    NOT NULL,
    begun       INTEGER NOT NULL,
    expires_at  REAL
) STRICT;

CREATE INDEX entry_due ON entry (function, due) WHERE due IS NOT NULL;
CREATE INDEX entry_leased ON entry (begun) WHERE token IS NOT NULL;

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

-- A mark is a bucket, or the id of a shape that was touched as a whole.
CREATE TABLE fired (
    mark     BLOB    PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shape (
    number INTEGER PRIMARY KEY,
    id     BLOB    NOT NULL UNIQUE,
    born   INTEGER NOT NULL,
    data   BLOB    NOT NULL
) STRICT;

CREATE TABLE feed (
    sequence INTEGER PRIMARY KEY,
    key      TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    digest   TEXT    NOT NULL
) STRICT;
