"""Results become words: pure functions from results.json to RESULTS.md, and to the figure of growth.

Seconds are those of the whole item: where a tool ran a sample of n of N trials, its time times N / n, and marked so.
"""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

Results = dict[str, Any]

TOOLS = {"lashley": "lashley", "transformer_lens": "TransformerLens", "nnsight": "nnsight"}
TOOLS |= {"auto_circuit": "AutoCircuit", "circuitkit": "circuitkit"}
FASTER = {  # item -> peer -> how many times faster lashley shall be
    "a": {"transformer_lens": 75, "nnsight": 75},
    "b": {"transformer_lens": 30, "nnsight": 30},
    "c": {"transformer_lens": 30},
    "e": {"transformer_lens": 10},
}
DIFFERENCE = 1e-4  # logits, item a
SPEARMAN = 0.99  # of the estimates of all edges
LOGITS = 1e-3  # a peer's own logits against plain transformers
SHARE = 0.7  # of the machine's speed, items a and c
MEMORY = 6.0  # GiB, item c


DOCUMENTED = "one"  # the way that targets are about: one edit a pass, as the peers' own functions do


class Target(NamedTuple):
    """What was wanted and what was measured, as text, and whether it was reached."""

    what: str
    wanted: str
    measured: str
    met: bool


def whole(run: dict, trials: int) -> float:
    """Seconds for all trials of the item: the median over the rounds."""
    return median(seconds * trials / count for seconds, count in run["rounds"])


def way(run: dict) -> str:
    """A tool and how it was used."""
    return f"{TOOLS[run['tool']]}, {run['words']}".format(edits=plural(run.get("rows", 1), "edit")).removesuffix(", ")


def runs(item: dict) -> tuple[dict, list[dict]]:
    """lashley's run of an item, and the peers'."""
    own = next(r for r in item["runs"] if r["tool"] == "lashley")
    return own, [r for r in item["runs"] if r is not own]


def targets(results: Results) -> list[Target]:
    """Every target that these results can be held against."""
    found = []
    for name, item in results["items"].items():
        own, peers = runs(item)
        n = item["trials"]
        for run in peers:
            wanted = FASTER.get(name, {}).get(run["tool"])
            if wanted and run["way"] == DOCUMENTED:
                ratio = whole(run, n) / whole(own, n)
                what = f"({name}) times as fast as {way(run)}"
                found.append(Target(what, f"≥ {wanted}", f"{ratio:.1f}", ratio >= wanted))
        if name == "a":
            for run in peers:
                least = run["difference"]
                what = f"(a) largest difference from {way(run)}, logits"
                found.append(Target(what, f"≤ {DIFFERENCE:.0e}", f"{least:.1e}", least <= DIFFERENCE))
        if shares := own.get("shares"):
            share = median(shares)
            what = f"({name}) share of the machine's matrix speed that the necessary operations reach"
            found.append(Target(what, f"≥ {SHARE:.0%}", f"{share:.0%}", share >= SHARE))
        if name == "c":
            most = own["peak"]
            found.append(Target("(c) peak resident memory", f"≤ {MEMORY:g} GiB", f"{most:.2f} GiB", most <= MEMORY))
    if edges := results.get("edges"):
        found += _edge_targets(edges)
    for tool, off in results["logits"].items():
        what = f"{TOOLS[tool]}: largest difference of its logits from plain transformers'"
        found.append(Target(what, f"≤ {LOGITS:.0e}", f"{off:.1e}", off <= LOGITS))
    return found


def _edge_targets(edges: dict) -> list[Target]:
    found = []
    for one in edges["compared"]:
        rho, off, tool = one.get("spearman"), one["difference"], TOOLS[one["tool"]]
        if rho is None:
            what = f"(edges) largest difference from {tool} under patched edge sets, logits"
            found.append(Target(what, f"≤ {DIFFERENCE:.0e}", f"{off:.1e}", off <= DIFFERENCE))
        else:
            what = f"(edges) Spearman correlation of {one['work'].upper()} with {tool}'s"
            found.append(Target(what, f"≥ {SPEARMAN}", f"{rho:.4f}", rho >= SPEARMAN))
    return found


def edge_part(edges: dict) -> list[str]:
    """The paragraphs about edges."""
    words = {
        "eap": f"EAP of all {edges['edges']:,} edges",
        "eap-ig": f"EAP-IG of all edges, {edges['steps']} steps",
        "patch": f"{edges['sets']:,} random edge sets, exactly patched",
    }
    rows = []
    for one in edges["compared"]:
        own, peer = median(one["own"]), median(one["peer"])
        rho = f"{one['spearman']:.4f}" if "spearman" in one else "–"
        times = f"{peer / own:.1f} ×"
        off = f"{one['difference']:.1e}"
        rows.append([words[one["work"]], TOOLS[one["tool"]], seconds(own), seconds(peer), times, rho, off])
    environments = "; ".join(
        f"{', '.join(f'{k} {v}' for k, v in found['versions'].items())} (logits differ from plain transformers' by "
        f"{found['logits']:.1e} at most)"
        for found in edges["opened"].values()
    )
    head = ["work", "beside", "lashley", "the peer", "times lashley's", "Spearman", "largest difference, logits"]
    return [
        "## Edges",
        f"{edges['date']}; {edges['model']}, {edges['pairs']} pairs of prompts; the median of "
        f"{plural(len(edges['compared'][0]['own']), 'round')}. Spearman correlations are those of the estimates over "
        f"all edges. The peers' environments: {environments}.",
        table(head, rows),
    ]


def in_short(results: Results) -> str:
    """How many times as fast as each peer, used as documented and batched by hand, as Markdown."""
    head = ["work", "lashley"]
    head += [
        f"{TOOLS[t]}, {w}" for t in ("transformer_lens", "nnsight") for w in ("one edit a pass", "batched by hand")
    ]
    rows = []
    for name, item in results["items"].items():
        own, peers = runs(item)
        n = item["trials"]
        times = {(run["tool"], run["way"]): f"{whole(run, n) / whole(own, n):.1f} ×" for run in peers}
        cells = [times.get((t, w), "–") for t in ("transformer_lens", "nnsight") for w in (DOCUMENTED, "many")]
        rows.append([f"({name}) {item['title']}: {n:,} trials", seconds(whole(own, n)), *cells])
    return table(head, rows)


def table(head: list[str], rows: list[list[str]], numbers: int = 1) -> str:
    """A Markdown table whose columns from number `numbers` on are set right."""
    rule = ["---"] * numbers + ["---:"] * (len(head) - numbers)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def targets_table(results: Results) -> str:
    """The targets as Markdown, met or MISSED."""
    return table(
        ["target", "wanted", "measured", ""],
        [[t.what, t.wanted, t.measured, "met" if t.met else "MISSED"] for t in targets(results)],
    )


def seconds(value: float) -> str:
    """A time as text: three digits, hours and minutes where it is long.

    >>> seconds(0.51234), seconds(51.2), seconds(431.0), seconds(9000.0)
    ('0.512 s', '51.2 s', '7.2 min', '2.5 h')
    """
    if value >= 5400:
        return f"{value / 3600:.1f} h"
    if value >= 120:
        return f"{value / 60:.1f} min"
    return f"{value:#.3g} s".replace(". s", " s")


def plural(count: int, what: str) -> str:
    """A count with its word: 1 round, 3 rounds."""
    return f"{count} {what}{'s' * (count != 1)}"


def item_table(item: dict) -> str:
    """One line a tool and way."""
    own, peers = runs(item)
    n = item["trials"]
    rows = []
    for run in (own, *peers):
        count = sorted({c for _, c in run["rounds"]})
        ran = f"all, {len(run['rounds'])} ×" if count == [n] else f"{count[-1]:,} of {n:,}, {len(run['rounds'])} ×"
        spread = [s * n / c for s, c in run["rounds"]]
        between = f"{seconds(min(spread))} – {seconds(max(spread))}" if len(spread) > 1 else "–"
        ratio = "1" if run is own else f"{whole(run, n) / whole(own, n):.1f}"
        difference = "–" if run is own else f"{run['difference']:.1e}"
        time = seconds(whole(run, n)) + ("" if count == [n] else " *")
        rows.append([way(run), ran, time, between, ratio, difference])
    head = ["", "trials run", "time for all", "rounds", "times lashley's", "largest difference, logits"]
    return table(head, rows, 2)


def render(results: Results) -> str:
    """RESULTS.md."""
    machine = results["machine"]
    versions = "; ".join(
        f"{TOOLS[tool]}'s environment: " + ", ".join(f"{k} {v}" for k, v in found.items())
        for tool, found in results["versions"].items()
    )
    parts = [
        "# What the same work costs",
        "Written by `make bench`; nothing here is typed."
        + (" THIS IS A QUICK RUN on tiny samples: it checks the plumbing and measures nothing." * results["quick"]),
        f"{results['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['memory']:.0f} GiB, "
        f"{machine['system']}; Python {machine['python']}. {plural(results['threads'], 'thread')} a tool, float32, "
        f"one tool working at a time, in turn, {plural(results['rounds'], 'round')} of (a) and (b). "
        f"Loading is not timed.\n\n{versions}.",
        f"The model is {results['model']}, the same folder of weights for every tool. A time is the median of its "
        "rounds; one with an asterisk is that of a random sample times (all trials / trials run). The difference is "
        "the largest one, in logits, between a tool's numbers and lashley's over the trials that both ran.",
        "## In short",
        in_short(results),
        "How many times as long as lashley each peer takes for the same numbers. One edit a pass is what the peers' "
        "own functions and documents do (for (d), 20 facts a pass). Batched by hand is the fastest way that we could "
        "write: a hook for every row of a batch, only the last token unembedded.",
        "## Targets",
        "Ratios are against one edit a pass.",
        targets_table(results),
        "## The work",
    ]
    for name, item in results["items"].items():
        parts += [f"### ({name}) {item['title']}", f"{item['trials']:,} trials of {item['tokens']} tokens."]
        parts.append(item_table(item))
        own, _ = runs(item)
        words = f"lashley's peak resident memory, its model included: {own['peak']:.2f} GiB."
        if own.get("shares"):
            words += (
                f" Necessary operations: {own['necessary'] / 1e12:.3g} × 10¹², in the median at "
                f"{median(own['reached']):.0f} × 10⁹ a second; the machine's large matrix products before and after: "
                f"{', '.join(f'{g:.0f}' for g in own['gflops'])} × 10⁹ a second."
            )
        parts.append(words)
    if results.get("growth"):
        rows = [
            [f"{g['neurons']:,}", f"{g['seconds']:.2f} s", f"{1e3 * each:.2f} ms", f"{g['peak']:.2f} GiB"]
            for g in results["growth"]
            for each in [g["seconds"] / g["neurons"]]
        ]
        parts += [
            "## Growth",
            "(c) on random neurons, four sizes.",
            table(["neurons", "time", "a neuron", "peak resident memory"], rows),
            "![Time and memory by number of neurons](growth.png)",
        ]
    if edges := results.get("edges"):
        parts += edge_part(edges)
    parts += ["## How the peers were used", *HOW]
    return "\n\n".join(parts) + "\n"


HOW = (
    'TransformerLens loads the folder into its `TransformerBridge` with the weights as they are. "Its patching '
    'functions" are `transformer_lens.patching.generic_activation_patch`, of which `get_act_patch_resid_pre`, '
    "`get_act_patch_attn_out`, `get_act_patch_mlp_out` and `get_act_patch_attn_head_out_by_pos` are partial "
    "applications: one pass for each cell of the grid, over all pairs of the item side by side. It has no function "
    'for knockouts: "one hook a pass" is `run_with_hooks`. "By hand" is `run_with_hooks` on a batch, with hooks that '
    "edit each row at its own site, and the last token only unembedded: more than its functions do, and faster.",
    "nnsight runs its `trace` on the folder: one edit a trace, reading the model's logits as its tutorials do; or one "
    "trace over a batch whose rows are edited each at its own site, the last token only unembedded. Several "
    "`invoke`s in a trace take the same time as such rows.",
    "circuitkit scores edges by `backends.eap.attribute`, methods EAP and EAP-IG-inputs, all pairs as one batch, in a "
    "`HookedTransformer` with the weights as they are. The points of its EAP-IG are k / n of the way from the corrupt "
    "to the clean run for k = 1 .. n; ours, and those of the public EAP-IG code, for k = 0 .. n − 1.",
    "AutoCircuit screens edges by `mask_gradient_prune_scores` with masks at 0, which is EAP, and patches them under "
    "`patch_mode`, one edge set a pass over all pairs, in a `HookedTransformer` with the weights as they are.",
    "The number of edits a pass is for each tool and item the fastest of three, tried before the clock starts.",
    "Necessary operations are those of `bench/necessary.py`: what an exact method cannot avoid, whatever it is.",
)


def growth_spec(growth: list[dict]) -> dict:
    """Vega-Lite: time and peak memory by number of neurons, side by side."""

    def panel(field: str, title: str) -> dict:
        x = {"field": "neurons", "type": "quantitative", "axis": {"title": "neurons knocked out", "tickCount": 5}}
        x["scale"] = {"zero": True}
        y = {"field": field, "type": "quantitative", "axis": {"title": title, "tickCount": 5}, "scale": {"zero": True}}
        line = {"type": "line", "color": "#2a6fb0", "point": {"size": 60, "filled": True, "color": "#2a6fb0"}}
        return {"width": 320, "height": 240, "mark": line, "encoding": {"x": x, "y": y}}

    return {
        "data": {"values": growth},
        "hconcat": [panel("seconds", "time (s)"), panel("peak", "peak resident memory (GiB)")],
        "spacing": 30,
    }


def growth_title(growth: list[dict]) -> str:
    """What the figure shows, as a sentence."""
    first, last = growth[0], growth[-1]
    work = last["neurons"] / first["neurons"]
    time, memory = last["seconds"] / first["seconds"], last["peak"] / first["peak"]
    return f"{work:.0f} times as many knockouts take {time:.1f} times as long, and {memory:.2f} times the memory"
