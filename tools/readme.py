"""Fill the generated blocks of README.md from what commands print; `--check` only compares.

<!-- generated: NAME --> ... <!-- end -->
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "src/lashley/embedded/weights"


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


def speed() -> str:
    """The tables of bench/RESULTS.md as they stand there, and where and when they were measured."""
    results = ROOT / "bench/RESULTS.md"
    if not results.is_file():
        return "Not measured yet; `make bench` writes bench/RESULTS.md."
    text = results.read_text(encoding="utf-8")
    where = next(line for line in text.splitlines() if re.match(r"\d{4}-\d\d-\d\d, ", line))
    short, _, rest = text.partition("## In short")[2].partition("## Targets")
    return f"{where}\n\n{short.strip()}\n\n{rest.partition('## ')[0].strip()}"


def calibration() -> str:
    """The tables of every calibration but quick ones, also of those that are not finished."""
    import msgspec

    from lashley.calibrated import Calibration, table

    found = sorted((ROOT / "calibration").glob("*/results.json"), key=lambda p: (len(p.parent.name), p.parent.name))
    kept = [p for p in found if not p.parent.name.endswith("-quick")]
    if not kept:
        return "Not measured yet; `make calibrate` does it."
    return table([msgspec.json.decode(p.read_bytes(), type=Calibration) for p in kept])


BLOCKS = {"embedded model": card, "speed": speed, "calibration": calibration}


def filled(text: str) -> str:
    """The text with every generated block made anew."""
    for name, make in BLOCKS.items():
        block = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert block.search(text), f"README.md has no block {name!r}"
        made = make()
        text = block.sub(lambda m, made=made: m[1] + made + "\n" + m[2], text)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    now = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit("README.md is out of date: run `make readme`" if filled(now) != now else 0)
    readme.write_text(filled(now), encoding="utf-8")
