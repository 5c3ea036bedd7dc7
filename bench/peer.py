"""What the two peers have in common: tokens, samples of trials in batches, the fastest batch size, the clock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from time import perf_counter

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from work import ITEMS, Item, Trial
from worker import THREADS

torch.set_num_threads(THREADS)
torch.set_grad_enabled(False)

Values = list[float]
One = Callable[["Prepared", list[Trial]], Values]
Many = Callable[["Prepared", list[list[Trial]]], Values]


class Prepared:
    """An item as token ids: `clean` and `corrupt` [pairs, tokens], the edited run, and the two answers a pair."""

    def __init__(self, item: Item, tokenizer):
        def ids(texts: list[str]) -> torch.Tensor:
            made = torch.tensor(tokenizer(texts)["input_ids"])
            assert made.shape[1] == item.tokens, f"({item.name}) has {made.shape[1]} tokens, not {item.tokens}"
            return made

        def answers(words: list[str]) -> torch.Tensor:
            made = tokenizer([f" {w}" for w in words], add_special_tokens=False)["input_ids"]
            assert all(len(m) == 1 for m in made), f"an answer of ({item.name}) is not one token"
            return torch.tensor([m[0] for m in made])

        self.item = item
        self.clean = ids([p.clean for p in item.pairs])
        self.edited = ids([p.corrupt for p in item.pairs]) if item.edit == "patch" else self.clean
        self.target = answers([p.target for p in item.pairs])
        self.foil = answers([p.foil for p in item.pairs])

    def difference(self, logits: torch.Tensor, pairs: Sequence[int]) -> torch.Tensor:
        """Logit difference at the last token, one a row; `pairs` says which pair a row is of."""
        last, rows = logits[:, -1], torch.arange(len(pairs))
        return last[rows, self.target[list(pairs)]] - last[rows, self.foil[list(pairs)]]


class Peer:
    """The doors of one tool. `one` edits once a pass; `many` edits each row of a pass at its own site."""

    def __init__(self, tokenizer, one: One, many: Many):
        self.prepared = {name: Prepared(item, tokenizer) for name, item in ITEMS.items()}
        self.one, self.many = one, many
        self.rows: dict[str, int] = {}

    def measure(self, item: str, way: str, trials: list[int], warm: int) -> dict:
        """Seconds and values of the trials, after `warm` untimed ones and, for `many`, the search for the batch
        size."""
        prepared = self.prepared[item]
        chosen = [prepared.item.trials[i] for i in trials]
        if way == "one":
            self.one(prepared, chosen[:warm])
            run = lambda: self.one(prepared, chosen)  # noqa: E731
        else:
            rows = self._fastest(prepared, chosen)
            run = lambda: self.many(prepared, batches(chosen, rows))  # noqa: E731
        start = perf_counter()
        values = run()
        return {"seconds": perf_counter() - start, "values": values, "rows": self.rows[item] if way == "many" else 1}

    def _fastest(self, prepared: Prepared, trials: list[Trial]) -> int:
        """The fastest of the item's batch sizes, found once, on as many trials as the largest has."""
        name = prepared.item.name
        sizes = [size for size in prepared.item.batches if size <= len(trials)] or [len(trials)]
        if name not in self.rows:
            took = {}
            for size in sizes:
                self.many(prepared, batches(trials[:size], size))
                start = perf_counter()
                self.many(prepared, batches(trials[: sizes[-1]], size))
                took[size] = perf_counter() - start
            self.rows[name] = min(took, key=took.__getitem__)
        return self.rows[name]


def batches(trials: list[Trial], rows: int) -> list[list[Trial]]:
    """The trials, `rows` at a time."""
    return [trials[i : i + rows] for i in range(0, len(trials), rows)]


def by_site(trials: Sequence[Trial]) -> dict[tuple[int, str], list[tuple[int, Trial]]]:
    """(row, trial) of every layer and kind that the rows of a pass edit, in the order in which a pass meets them."""
    order = ("resid", "head", "attn", "neuron", "mlp")
    found: dict[tuple[int, str], list[tuple[int, Trial]]] = {}
    for row, trial in enumerate(trials):
        found.setdefault((trial.layer, trial.kind), []).append((row, trial))
    return dict(sorted(found.items(), key=lambda entry: (entry[0][0], order.index(entry[0][1]))))


def against_transformers(folder: str, logits: Callable[[torch.Tensor], torch.Tensor], tokenizer) -> float:
    """Largest difference of a tool's logits from those of plain transformers, over all tokens of one prompt."""
    ids = Prepared(ITEMS["a"], tokenizer).clean
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return float((logits(ids) - plain(ids).logits).abs().max())


def tokenizer_of(folder: str):
    return AutoTokenizer.from_pretrained(folder)
