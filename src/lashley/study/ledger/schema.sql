-- Version 1 of the ledger. Frozen: what comes later is a numbered file in migrations/.

CREATE TABLE sweeps (
  id     INTEGER PRIMARY KEY,                      -- in the order of planning
  key    TEXT NOT NULL UNIQUE,                     -- lashley.core.trial.Sweep.key
  trials INTEGER NOT NULL CHECK (trials >= 0),
  spec   BLOB NOT NULL                             -- zlib(msgpack(lashley.core.trial.Sweep))
) STRICT;

CREATE TABLE chunks (
  sweep       INTEGER NOT NULL REFERENCES sweeps (id),
  start       INTEGER NOT NULL CHECK (start >= 0), -- trials start .. stop - 1
  stop        INTEGER NOT NULL CHECK (stop > start),
  "values"    BLOB NOT NULL CHECK (length("values") = 8 * (stop - start)), -- float64, little-endian
  clean       REAL NOT NULL,                       -- the readout of the unedited runs, in its own unit
  corrupt     REAL,                                -- NULL: the sweep has no corrupt run
  noise_floor REAL NOT NULL,
  path        TEXT NOT NULL,                       -- packed, plain
  committed   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  PRIMARY KEY (sweep, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE exclusions (
  id       INTEGER PRIMARY KEY,
  relation TEXT NOT NULL,
  subject  TEXT NOT NULL,
  object   TEXT NOT NULL,
  template TEXT NOT NULL,                          -- '': in every template
  reason   TEXT NOT NULL,
  UNIQUE (relation, subject, object, template)
) STRICT;

CREATE TABLE notes (
  id    INTEGER PRIMARY KEY,
  key   TEXT NOT NULL,                             -- of several notes under one key the last one counts
  value TEXT NOT NULL                              -- JSON
) STRICT;

-- What stands, stands: no change, no removal, and no replacement by a second insert.

CREATE TRIGGER sweeps_no_update BEFORE UPDATE ON sweeps BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER sweeps_no_delete BEFORE DELETE ON sweeps BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER chunks_no_update BEFORE UPDATE ON chunks BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER chunks_no_delete BEFORE DELETE ON chunks BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER exclusions_no_update BEFORE UPDATE ON exclusions BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER exclusions_no_delete BEFORE DELETE ON exclusions BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER notes_no_update BEFORE UPDATE ON notes BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER notes_no_delete BEFORE DELETE ON notes BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;

CREATE TRIGGER sweeps_once BEFORE INSERT ON sweeps
WHEN EXISTS (SELECT 1 FROM sweeps WHERE key = NEW.key OR id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END;

CREATE TRIGGER exclusions_once BEFORE INSERT ON exclusions
WHEN EXISTS (
  SELECT 1 FROM exclusions
  WHERE id = NEW.id
    OR (relation = NEW.relation AND subject = NEW.subject AND object = NEW.object AND template = NEW.template)
)
BEGIN SELECT RAISE(IGNORE); END;

CREATE TRIGGER notes_once BEFORE INSERT ON notes
WHEN EXISTS (SELECT 1 FROM notes WHERE id = NEW.id)
BEGIN SELECT RAISE(IGNORE); END;

-- Chunks never overlap, so of those that start before this one stops, the last is also the one that stops last.

CREATE TRIGGER chunks_fit BEFORE INSERT ON chunks BEGIN
  SELECT CASE
    WHEN NEW.sweep IS NULL
      THEN RAISE(ABORT, 'an answer came to a sweep that is not planned here; plan it first')
    WHEN NEW.stop > (SELECT trials FROM sweeps WHERE id = NEW.sweep)
      THEN RAISE(ABORT, 'an answer came to a trial beyond the end of its sweep')
    WHEN NEW.start < (SELECT stop FROM chunks WHERE sweep = NEW.sweep AND start < NEW.stop ORDER BY start DESC LIMIT 1)
      THEN RAISE(ABORT, 'these trials are answered already; if another process works on this study, stop one of the two and start again')
  END;
END;
