"""Facts and models as lists in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from lashley.core.case import Known
from lashley.core.claim import Verdict
from lashley.core.cost import ROUTES, Cost
from lashley.core.fact import SLOT
from lashley.core.figure import plural
from lashley.experiments.audit.steps import Step
from lashley.facts.question import find, relations
from lashley.facts.tasks import TASKS, items
from lashley.report import lines
from lashley.report.console import Console, say_json
from lashley.report.terminal import LEAST
from lashley.study.ledger.seal import COUNT, Condition

MOST = 6  # claims that are named of each step
TARGETS = {
    "prompts_trained": ("facts ranked first, trained templates", 0.98),
    "prompts_held_out": ("facts ranked first, held-out templates", 0.92),
    "agreement": ("agreement minimal pairs", 0.95),
}


def facts(console: Console, relation: str | None) -> None:
    """All relations, or the facts of one."""
    if relation is None:
        grid = _grid("relation", "facts", "templates", "languages", "example")
        for r in relations().values():
            subject, answer = next(iter(r.objects.items()))
            languages = " ".join(dict.fromkeys(t.language for t in r.templates))
            grid.add_row(r.name, str(len(r.objects)), str(len(r.templates)), languages, f"{subject} → {answer}")
        console.print(grid)
        return
    found = find(relation)
    grid = _grid("subject", "object")
    for subject, answer in found.objects.items():
        grid.add_row(subject, answer)
    console.print(grid)
    console.print(f"{plural(len(found.objects), 'fact')}. Source: {found.source}", highlight=False)
    for own, others in found.aliases.items():
        console.print(f"  {own}: also {', '.join(others)}", highlight=False)
    for t in found.templates:
        console.print(f"  {t.language} {t.register:10} {t.text}", highlight=False)


def tasks(console: Console) -> None:
    """All tasks, each with an item."""
    for name, task in TASKS.items():
        (item,) = items(name, 1)
        console.print(f"{name}: {task.title} ({task.source})", style="bold", highlight=False)
        shown = item.prompt.replace(SLOT, f"[{item.subject} | {item.foil}]")
        console.print(f"  {shown} → {item.answer} | {item.foil_answer}", highlight=False)
        console.print(f"  {task.metric}", highlight=False)


def known(console: Console, found: Sequence[Known], model: str, json: bool) -> None:
    """What a model knows of one relation."""
    if json:
        say_json(msgspec.json.encode([{**msgspec.to_builtins(k), "known": k.known} for k in found]))
        return
    grid = _grid("subject", "object", "ranks first", "known", "instead")
    for k in found:
        grid.add_row(k.fact.subject, k.fact.object, f"{k.first} of {k.prompts}", "yes" if k.known else "no", k.instead)
    console.print(grid)
    number = sum(k.known for k in found)
    console.print(
        f"{model} knows {number} of {plural(len(found), 'fact')} ({100 * number / len(found):.0f}%).", highlight=False
    )


def cost(console: Console, found: Cost, json: bool) -> None:
    """What an experiment would cost."""
    if json:
        say_json(msgspec.json.encode({**msgspec.to_builtins(found), "seconds": found.seconds}))
        return
    grid = _grid("", "planned", "")
    routes = ", ".join(f"{n} {ROUTES[r]}" for r, n in found.routes.items())
    share = found.naive / max(found.operations, 1)
    for row in (
        ("sweeps", f"{found.sweeps:,}", routes),
        ("trials", f"{found.trials:,}", f"{found.rows:,} rows with identity edits, in {found.packs:,} packs"),
        ("layer calls", f"{found.layer_calls:,}", "one for all rows of a pack that are there"),
        ("operations", f"{found.operations:.3g}", f"a full pass for every row would take {share:.3g} times as many"),
        ("memory", _bytes(found.memory), f"beside the model's own {_bytes(found.weights)}"),
        (
            "expected time",
            _time(found.seconds),
            f"at the {found.speed / 1e9:.0f} billion operations a second of a plain pass",
        ),
    ):
        grid.add_row(*row)
    console.print(grid)
    console.print("Nothing was measured; the same command without `plan` does it.", highlight=False)


def _bytes(n: float) -> str:
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"


def _time(seconds: float) -> str:
    """A duration in two digits or so.

    >>> _time(0.31), _time(42.3), _time(1000), _time(9000)
    ('0.3 s', '42 s', '17 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def check(console: Console, shares: dict, selftest: str, json: bool) -> None:
    """What a model knows of everything."""
    if json:
        say_json(msgspec.json.encode(shares))
        return
    if "prompts_trained" in shares:
        grid = _grid("measure", "share", "target", "")
        for key, (words, target) in TARGETS.items():
            share = shares[key]["all"] if key == "agreement" else shares[key]
            grid.add_row(words, f"{100 * share:.2f}%", f"{100 * target:.0f}%", "met" if share >= target else "MISSED")
        console.print(grid)
    grid = _grid("relation", "share")
    for name, share in shares["relations"].items():
        grid.add_row(name, f"{100 * (share if isinstance(share, float) else share['facts_all']):.1f}% of facts known")
    console.print(grid)
    console.print(f"self-test: {selftest}", highlight=False)


NUMBERS = ("facts", "templates", "ranks first", "planned", "share", "target")  # heads of columns that stay whole


def _grid(*heads: str) -> Table:
    grid = Table(box=None, pad_edge=False)
    for head in heads:
        grid.add_column(head, overflow="fold", no_wrap=head in NUMBERS)
    return grid


def _say(console: Console, words: str, style: str = "", indent: str = "") -> None:
    """A sentence, in lines that break no number."""
    console.print(lines.text(words, max(console.width, LEAST), style, indent), highlight=False, soft_wrap=True)


def verdicts(console: Console, found: Sequence[Verdict], json: bool) -> None:
    """What became of some claims."""
    if json:
        say_json(msgspec.json.encode(found, order="deterministic"))
        return
    for verdict in found:
        _say(console, f"{verdict.said}: {verdict.outcome}", "bold")
        _say(console, verdict.why, indent="  ")
        if verdict.weaker:
            _say(console, f"What the evidence supports: {verdict.weaker}", indent="  ")


def condition(console: Console, study: Path, found: Condition, json: bool) -> None:
    """What looking through a study found."""
    if json:
        whole = found._asdict() | {"found": found.found._asdict(), "lost": found.lost._asdict()}
        say_json(msgspec.json.encode(whole))
        return
    rows, measurements = found.found
    sure = f"{rows - found.unsealed:,} of {rows:,} entries" if found.unsealed else f"all {rows:,} entries"
    console.print(
        f"{study}: {plural(measurements, 'measurement')}; {sure} are as they were written",
        highlight=False,
        soft_wrap=True,
    )
    if found.unsealed:
        said = f"{found.unsealed:,} were written by an older lashley: whether they were changed since cannot be told"
        console.print(said, highlight=False, soft_wrap=True)
    if not found.counted:
        said = f"{COUNT} is missing or damaged: whether anything was lost cannot be told; `lashley resume` mends it"
        console.print(said, highlight=False, soft_wrap=True)


def steps(console: Console, found: Sequence[Step], json: bool) -> None:
    """What is worth measuring next."""
    if json:
        say_json(msgspec.json.encode(found, order="deterministic"))
        return
    if not found:
        console.print("Nothing is open: every claim that can be asked is supported or refuted.", highlight=False)
        return
    for place, step in enumerate(found, 1):
        time = "" if step.seconds is None else f", about {_time(step.seconds)}"
        number = f"{place}." if step.command else "–"
        head = f"{number} {step.what}: {len(step.settles)} criteri{'on' if len(step.settles) == 1 else 'a'}{time}"
        console.print(head, style="bold", highlight=False)
        for claim in list(dict.fromkeys(claim for claim, _ in step.settles))[:MOST]:
            criteria = ", ".join(criterion for of, criterion in step.settles if of == claim)
            console.print(f"   {criteria} of “{claim}”", highlight=False)
        if (more := len({claim for claim, _ in step.settles}) - MOST) > 0:
            console.print(f"   and of {more:,} more claims", highlight=False)
        if step.command:
            console.print(f"   {step.command}", highlight=False, soft_wrap=True)
