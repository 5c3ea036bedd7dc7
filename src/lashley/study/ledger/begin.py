"""Beginning a study: the folder is one, or is not; never half of it."""

from __future__ import annotations

from pathlib import Path

from lashley.core.errors import BrokenStudy, StudyConflict
from lashley.core.trouble import explained
from lashley.study.ledger import database, spec
from lashley.study.ledger.seal import COUNT
from lashley.study.ledger.spec import Spec

SPEC, LEDGER = "spec.json", "ledger.sqlite"


def begin(folder: Path, heading: Spec) -> bool:
    """Make `folder` a study unless it is one; whether it was made here.

    `spec.json` comes last and makes it one. The database's lock lets one process do so at a time. A folder
    that was left half-made holds an empty ledger and drafts, and is finished. Anything else there is a
    `StudyConflict`; measurements without a `spec.json` are a `BrokenStudy`.
    """
    with explained(folder):
        if (folder / SPEC).exists():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        if strangers := sorted(p.name for p in folder.iterdir() if not p.name.startswith((".", LEDGER, COUNT))):
            if SPEC in strangers:
                return False
            raise StudyConflict(
                f"{folder} holds other things ({strangers[0]}) and no study; use another --study folder"
            )
        db = database.connect(folder / LEDGER, new=True)
        try:
            with database.writing(db):
                if (folder / SPEC).exists():
                    return False
                if db.execute("SELECT count(*) FROM sweeps").fetchone()[0]:
                    raise BrokenStudy(
                        f"{folder} holds measurements, but its {SPEC} is missing; put back a copy of it, "
                        "or use another --study folder"
                    )
                for draft in folder.glob(f".{SPEC}.*.tmp"):
                    draft.unlink()
                spec.write(folder / SPEC, heading)
                return True
        finally:
            db.close()
