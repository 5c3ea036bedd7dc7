"""Fill the generated blocks of docs/ from what commands print; `--check` only compares;
`--picture` draws that of README.md again.

<!-- generated: NAME --> ... <!-- end -->
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "src/lashley/models/embedded/weights"


def card() -> str:
    """The three figures of the embedded model, from its card."""
    made = json.loads((WEIGHTS / "card.json").read_text(encoding="utf-8"))
    f = made["figures"]
    rows = [
        ("facts whose object ranks first, trained templates", f["prompts_trained"], 0.98),
        ("the same, templates never seen with the fact", f["prompts_held_out"], 0.92),
        ("agreement minimal pairs, held out", f["agreement"]["all"], 0.95),
    ]
    lines = [f"| {words} | {100 * share:.1f}% | {100 * target:.0f}% |" for words, share, target in rows]
    return (
        f"{made['parameters']:,} parameters, {f['facts']:,} facts, trained in {made['minutes']:.0f} minutes on two "
        f"cores ({made['date']}):\n\n| | measured | target |\n|---|---|---|\n" + "\n".join(lines)
    )


def targets() -> str:
    """What bench/RESULTS.md says: where and when, the short table, what was wanted and what was met."""
    return "\n\n".join(_measured())


def _measured() -> tuple[str, str, str]:
    """Where and when, the short table, and the targets."""
    text = (ROOT / "bench/RESULTS.md").read_text(encoding="utf-8")
    where = next(line for line in text.splitlines() if re.match(r"\d{4}-\d\d-\d\d, ", line))
    short, _, rest = text.partition("## In short")[2].partition("## Targets")
    return where, short.strip(), rest.partition("## ")[0].strip()


def calibrated() -> list:
    """Every calibration but quick ones, also those that are not finished."""
    import msgspec

    from lashley.validation.rates import Calibration

    found = sorted((ROOT / "calibration").glob("*/results.json"), key=lambda p: (len(p.parent.name), p.parent.name))
    kept = [p for p in found if not p.parent.name.endswith("-quick")]
    return [msgspec.json.decode(p.read_bytes(), type=Calibration) for p in kept]


def calibration() -> str:
    """A row a model: false claims supported, and true ones."""
    rows = ["| measured, exact 95% bounds (n) | " + " | ".join(c.model for c in calibrated()) + " |"]
    rows.append("| --- |" + " ---: |" * len(calibrated()))
    for what in SUMMED:
        shares = [next(line.share for line in c.lines if line.what == what) for c in calibrated()]
        said = [f"{100 * s.value:.1f}% [{100 * s.low:.1f}, {100 * s.high:.1f}] ({s.n:,})" for s in shares]
        rows.append(f"| {what} | " + " | ".join(said) + " |")
    return "\n".join(rows)


def tables() -> str:
    """The tables of every calibration."""
    from lashley.validation.rates import table

    return table(calibrated())


SUMMED = (
    "false claims supported, of all that are false and testable",
    "true claims supported: single, strength 2",
    "true claims supported: redundant, strength 2",
    "undecided, of the true claims",
)
FILES = {
    "docs/using.md": {"embedded model": card},
    "docs/speed.md": {"speed and targets": targets},
    "docs/calibration.md": {"calibration": calibration, "calibration tables": tables},
}


def filled(name: str) -> str:
    """The text of a file with every generated block made anew."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for block, make in FILES[name].items():
        place = re.compile(rf"(<!-- generated: {block} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert place.search(text), f"{name} has no block {block!r}"
        made = make()
        text = place.sub(lambda m, made=made: m[1] + made + "\n" + m[2], text)
    return text


def picture() -> None:
    """The picture of README.md: where the recall of France's capital passes in the embedded model."""
    import lashley

    with tempfile.TemporaryDirectory() as folder:
        study = lashley.locate(lashley.open_model(), relation="capital", subject="France", study=Path(folder) / "study")
        study.write()
        shutil.copy(study.folder / "figures" / "map.png", ROOT / "docs" / "locate.png")


if __name__ == "__main__":
    if "--picture" in sys.argv:
        picture()
    for name in FILES:
        made = filled(name)
        if "--check" not in sys.argv:
            (ROOT / name).write_text(made, encoding="utf-8")
        elif made != (ROOT / name).read_text(encoding="utf-8"):
            sys.exit(f"{name} is out of date: run `make readme`")
