"""`make bench`: the same work by lashley, TransformerLens and nnsight, in turn on the same model; edges by
circuitkit and AutoCircuit.

Each tool is a worker process of its own environment, kept alive; only one works at a time. Writes results.json,
RESULTS.md and growth.png beside this file. `--quick` checks the plumbing on tiny samples; it, and a run of some
items only, write to .envs/partial; edges alone are put beside what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from edges import compare
from necessary import GEMMA, all_of
from render import growth_spec, growth_title, render, targets
from work import ITEMS, MODEL, Item

HERE = Path(__file__).parent
ENVS = HERE / ".envs"
PEERS = ("transformer_lens", "nnsight")
EDGES = "edges"  # an item of its own, beside other peers
EDGE_PEERS = ("circuitkit", "auto_circuit")
OWN = ("transformer_lens", "one", "its patching functions")
BY_HAND = ("transformer_lens", "many", "by hand, {edits} a pass")
ALONE = ("nnsight", "one", "one edit a trace")
TRACE = ("nnsight", "many", "{edits} a trace")
WAYS = {  # item -> (tool, way, words), in turn; lashley after them in every round
    "a": (OWN, BY_HAND, ALONE, TRACE),
    "b": (OWN, BY_HAND, ALONE, TRACE),
    "c": (("transformer_lens", "one", "one hook a pass"), BY_HAND, TRACE),
    "d": (("transformer_lens", "one", "its patching functions, 20 facts a pass"), BY_HAND, TRACE),
    "e": (OWN, BY_HAND, TRACE),
}
SAMPLE = {"c": 200, "d": 400, "e": 20}  # trials of the peers, all rounds together; elsewhere all of them every round
QUICK = {"a": 12, "b": 12, "c": 12, "d": 40, "e": 2}
QUICK_OWN = {"c": 128, "d": 400, "e": 8}
ONCE = ("c", "d", "e")  # lashley once, the peers' sample in two halves before and after it
PROBED = ("a", "c")
WARM = 48  # trials before the clock starts
GROWTH, QUICK_GROWTH = (1024, 2048, 4096, 8192), (16, 32, 64, 128)
GUESS = {"lashley": {"a": 0.004, "b": 0.004, "c": 0.009, "d": 0.003, "e": 0.09}}  # seconds a trial before any is known
GUESS |= {"one": {"a": 0.15, "b": 0.15, "c": 0.2, "d": 0.05, "e": 1.0}}
GUESS |= {"many": {"a": 0.02, "b": 0.02, "c": 0.04, "d": 0.02, "e": 0.6}}


class Gone(Exception):
    """A worker cannot be started, or failed; the message says what to do."""


class Worker:
    """A tool's process; it ends with its stdin."""

    def __init__(self, tool: str, threads: int):
        python = Path(sys.executable) if tool == "lashley" else ENVS / tool / "bin/python"
        if not python.exists():
            raise Gone(f"{python.relative_to(HERE.parent)} is missing; run `make bench`, which sets it up")
        self.tool, self.log = tool, ENVS / f"{tool}.log"
        quiet = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        quiet |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, HERE / f"peer_{tool}.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | quiet,
                start_new_session=True,  # Ctrl-C reaches us, and we end it
            )

    def ask(self, door: str, **words) -> dict:
        """The answer to one request. Raises `Gone`."""
        assert self.process.stdin and self.process.stdout
        try:
            print(json.dumps({"door": door, **words}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"it ended with {self.process.wait()}"}
        if "error" in answer:
            raise Gone(f"{self.tool}: {answer['error']} (see {self.log.relative_to(HERE.parent)})")
        return answer


class Steps:
    """Prints what is done and about how long the rest will take."""

    def __init__(self):
        self.left: list[tuple[str, float]] = []  # what, seconds expected
        self.known: dict[str, float] = {}
        self.began = time.monotonic()

    def expect(self, what: str, seconds: float) -> None:
        self.left.append((what, seconds))

    def start(self, what: str) -> None:
        rest = sum(self.known.get(w, s) for w, s in self.left)
        print(f"{_clock(time.monotonic() - self.began)}, about {_clock(rest)} left: {what} ... ", end="", flush=True)
        self._from = time.monotonic()

    def done(self, words: str) -> None:
        what, _ = self.left.pop(0)
        self.known[what] = time.monotonic() - self._from
        print(words, flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def plan(item: Item, rounds: int, quick: bool) -> list[tuple[str, str, str, list[int] | None]]:
    """(tool, way, words, trials or None for all) of one item, in the order in which they are run."""
    name = item.name
    asked = QUICK[name] if quick else SAMPLE.get(name)
    own: list[int] | None = item.sample(QUICK_OWN[name]) if quick and name in QUICK_OWN else None
    every = list(range(len(item.trials)))
    chosen = item.sample(asked) if asked else every
    lashley = ("lashley", "", "", own)
    if name not in ONCE:
        one_round = [*((*peer, chosen) for peer in WAYS[name]), lashley]
        return one_round * rounds
    cells = sorted({item.trials[i][1:] for i in chosen}, key=str)
    first = set(cells[::2])
    halves = [[i for i in chosen if (item.trials[i][1:] in first) is half] for half in (True, False)]
    before, after = ([(*peer, half) for peer in WAYS[name]] for half in halves)
    return [*before, lashley, *after]


def measure(names: list[str], rounds: int, quick: bool, workers: dict[str, Worker], results: dict) -> None:
    """Run every item; fill `results`."""
    steps, warm = Steps(), 4 if quick else WARM
    plans = {name: plan(ITEMS[name], rounds, quick) for name in names}
    for name, planned in plans.items():
        for tool, way, words, trials in planned:
            count = len(ITEMS[name].trials) if trials is None else len(trials)
            steps.expect(f"({name}) {tool} {words}".strip(), count * GUESS[way or tool][name] + 3)
    growth = QUICK_GROWTH if quick else GROWTH
    if "c" in names:
        for size in growth:
            steps.expect(f"growth, {size:,} neurons", size * GUESS["lashley"]["c"])
    for name, planned in plans.items():
        results["items"][name] = _item(ITEMS[name], planned, warm, workers, steps)
        if name == "c":
            results["growth"] = []
            for size in growth:
                steps.start(f"growth, {size:,} neurons")
                trials = ITEMS["c"].sample(size)
                got = workers["lashley"].ask("measure", item="c", way="", trials=trials, warm=warm)
                results["growth"].append({"neurons": size, "seconds": got["seconds"], "peak": got["peak"]})
                steps.done(f"{got['seconds']:.2f} s, {got['peak']:.2f} GiB")


def _item(item: Item, planned: list, warm: int, workers: dict[str, Worker], steps: Steps) -> dict:
    """One item: the runs of every tool and way, with their rounds, and how far their numbers are from lashley's."""
    runs: dict[tuple[str, str], dict] = {}
    values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for tool, way, words, trials in planned:
        steps.start(f"({item.name}) {tool} {words.format(edits='many edits')}".strip())
        run = runs.setdefault((tool, way), {"tool": tool, "way": way, "words": words, "rounds": []})
        numbers = list(range(len(item.trials))) if trials is None else trials
        if tool == "lashley":
            probe = item.name in PROBED
            got = workers[tool].ask("measure", item=item.name, way=way, trials=trials, warm=warm, probe=probe)
            run["peak"] = max(run.get("peak", 0.0), got["peak"])
            if probe:
                run["necessary"] = all_of(GEMMA, item.tokens, [item.trials[i][1:4] for i in numbers])
                reached = 1e-9 * run["necessary"] / got["seconds"]
                run.setdefault("reached", []).append(reached)
                run.setdefault("gflops", []).extend(got["gflops"])
                run.setdefault("shares", []).append(reached / max(got["gflops"]))
        else:
            got = workers[tool].ask("measure", item=item.name, way=way, trials=trials, warm=min(warm, 4))
            run["rows"] = got["rows"]
        run["rounds"].append([got["seconds"], len(numbers)])
        values[tool, way] |= dict(zip(numbers, got["values"], strict=True))
        steps.done(f"{got['seconds']:.2f} s for {len(numbers):,}")
    own = values["lashley", ""]
    for key, run in runs.items():
        if key[0] != "lashley":
            run["difference"] = max(abs(v - own[i]) for i, v in values[key].items())
    return {"title": item.title, "trials": len(item.trials), "tokens": item.tokens, "runs": list(runs.values())}


def machine() -> dict:
    """What all this ran on."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": memory,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def write(results: dict, folder: Path) -> None:
    """results.json, RESULTS.md and growth.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "RESULTS.md").write_text(render(results), encoding="utf-8")
    if results.get("growth"):
        from lashley.core.figure import Figure
        from lashley.report.charts import theme
        from lashley.report.vega import png

        title = growth_title(results["growth"])
        caption = f"lashley, zero knockouts of random neurons of {MODEL} one by one at all positions of one prompt."
        spec = growth_spec(results["growth"]) | {"config": theme.CONFIG}
        (folder / "growth.png").write_bytes(png(Figure("growth", title, caption, spec, title)))


def _beside(
    names: list[str], asked: argparse.Namespace, rounds: int, workers: dict[str, Worker], results: dict
) -> None:
    """The items that all tools run; fill `results`."""
    for tool in ("lashley", *PEERS):
        workers[tool] = Worker(tool, asked.threads)
    print(f"opening {MODEL} with lashley ...", flush=True)
    opened = workers["lashley"].ask("load")
    print(f"  {opened['folder']}; {opened['checked']}")
    results["versions"]["lashley"] = opened["versions"]
    for tool in PEERS:
        print(f"opening it with {tool} ...", flush=True)
        got = workers[tool].ask("load", folder=opened["folder"])
        print(f"  logits differ from plain transformers' by {got['logits']:.1e} at most")
        results["versions"][tool], results["logits"][tool] = got["versions"], got["logits"]
    measure(names, rounds, asked.quick, workers, results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny samples, one round: checks the plumbing")
    every = (*ITEMS, EDGES)
    parser.add_argument("--items", default=",".join(every), help=f"which, of {','.join(every)}")
    parser.add_argument("--rounds", type=int, default=3, help="of (a), (b) and edges")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    names = [n.strip() for n in asked.items.split(",")]
    if unknown := [n for n in names if n not in every]:
        parser.error(f"no item {unknown[0]!r}; there are {', '.join(every)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the shell started us in the background
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rounds = 1 if asked.quick else asked.rounds
    results: dict = {
        "date": time.strftime("%Y-%m-%d"),
        "quick": asked.quick,
        "rounds": rounds,
        "threads": asked.threads,
        "model": MODEL,
        "machine": machine(),
        "versions": {},
        "logits": {},
        "items": {},
    }
    workers: dict[str, Worker] = {}
    try:
        ENVS.mkdir(exist_ok=True)
        if EDGES in names:
            print("edges, beside circuitkit and AutoCircuit ...", flush=True)
            workers |= {tool: Worker(tool, asked.threads) for tool in EDGE_PEERS}
            results["edges"] = compare(workers, asked.threads, rounds) | {"date": results["date"]}
        if items := [n for n in names if n != EDGES]:
            _beside(items, asked, rounds, workers, results)
    except Gone as e:
        sys.exit(f"\n{e}")
    except KeyboardInterrupt:
        sys.exit("\nstopped; nothing is written")
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.wait()
    made = HERE if set(names) == set(every) and not asked.quick else ENVS / "partial"
    if names == [EDGES] and not asked.quick and (HERE / "results.json").is_file():  # beside what the others measured
        made, results = HERE, json.loads((HERE / "results.json").read_text()) | {"edges": results["edges"]}
    write(results, made)
    for target in targets(results):
        print(f"{'met   ' if target.met else 'MISSED'} {target.what}: {target.measured} (wanted {target.wanted})")
    print(made / "RESULTS.md")


if __name__ == "__main__":
    main()
