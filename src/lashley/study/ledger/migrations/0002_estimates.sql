-- Version 2: what a screen estimated for the trials of a sweep, before any was measured.

CREATE TABLE estimates (
  sweep    INTEGER PRIMARY KEY REFERENCES sweeps (id),
  "values" BLOB NOT NULL                           -- float64, little-endian: change of the readout, one a trial
) STRICT;

CREATE TRIGGER estimates_no_update BEFORE UPDATE ON estimates BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;
CREATE TRIGGER estimates_no_delete BEFORE DELETE ON estimates BEGIN SELECT RAISE(ABORT, 'measurements are immutable'); END;

CREATE TRIGGER estimates_once BEFORE INSERT ON estimates
WHEN EXISTS (SELECT 1 FROM estimates WHERE sweep = NEW.sweep)
BEGIN SELECT RAISE(IGNORE); END;

CREATE TRIGGER estimates_fit BEFORE INSERT ON estimates
WHEN length(NEW."values") <> 8 * (SELECT trials FROM sweeps WHERE id = NEW.sweep)
BEGIN SELECT RAISE(ABORT, 'a screen estimates every trial of its sweep'); END;
