"""What is measured, as plain data: prompts, sites and ways. No torch here: every tool's environment imports it.

A trial is one edit of one run, read as the difference of two logits at the last token. Numbers of tokens include
the beginning-of-text token.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, NamedTuple

MODEL = "gemma3-270m"
LAYERS, HEADS, NEURONS, HEAD_WIDTH = 18, 4, 2048, 256

Kind = Literal["resid", "attn", "mlp", "head", "neuron"]
OUTPUTS: tuple[Kind, ...] = ("resid", "attn", "mlp")


class Pair(NamedTuple):
    """A clean prompt and its answer, a corrupt one of as many tokens and its answer (the foil)."""

    clean: str
    target: str
    corrupt: str
    foil: str


class Trial(NamedTuple):
    """Where one edit is made; `position` None: at all of them."""

    pair: int
    kind: Kind
    layer: int
    position: int | None = None
    unit: int | None = None


@dataclass(frozen=True)
class Item:
    """One piece of work. "patch" writes the clean run's activation into the corrupt run; "zero" writes 0 into the
    clean run."""

    name: str
    title: str
    edit: Literal["patch", "zero"]
    pairs: tuple[Pair, ...]
    tokens: int
    trials: tuple[Trial, ...]
    batches: tuple[int, ...]  # rows a pass that the peers try

    def sample(self, size: int) -> list[int]:
        """Numbers of about `size` trials drawn at random, in order: whole cells, that is, each of all pairs. A
        larger sample holds the smaller."""
        cells: dict[tuple, list[int]] = {}
        for number, (_, *cell) in enumerate(self.trials):
            cells.setdefault(tuple(cell), []).append(number)
        order = list(cells.values())
        random.Random(0).shuffle(order)
        return sorted(number for cell in order[: max(1, size // len(self.pairs))] for number in cell)


def grid(kinds: tuple[Kind, ...], tokens: int, units: int | None = None, pairs: int = 1) -> tuple[Trial, ...]:
    """Every layer at every position (and every unit) of every pair, kind by kind."""
    return tuple(
        Trial(pair, kind, layer, position, unit)
        for kind in kinds
        for pair in range(pairs)
        for layer in range(LAYERS)
        for position in range(tokens)
        for unit in (range(units) if units else (None,))
    )


def capital(country: str, city: str, other: str, foil: str, context: str = "") -> Pair:
    """The capital of one country, corrupted by another."""
    prompt = context + "The capital of {} is"
    return Pair(prompt.format(country), city, prompt.format(other), foil)


CAPITALS = (
    ("France", "Paris"),
    ("Italy", "Rome"),
    ("Japan", "Tokyo"),
    ("Germany", "Berlin"),
    ("Spain", "Madrid"),
    ("Russia", "Moscow"),
    ("China", "Beijing"),
    ("Egypt", "Cairo"),
    ("Greece", "Athens"),
    ("Austria", "Vienna"),
    ("Portugal", "Lisbon"),
    ("Poland", "Warsaw"),
    ("Norway", "Oslo"),
    ("Sweden", "Stockholm"),
    ("Finland", "Helsinki"),
    ("Ireland", "Dublin"),
    ("Hungary", "Budapest"),
    ("Cuba", "Havana"),
    ("Kenya", "Nairobi"),
    ("Peru", "Lima"),
)
CONTEXT = (
    "The train left the station a little after nine, and for the first hour nobody in the carriage spoke. Outside, the "
    "fields were still white with frost, and a thin line of smoke rose from every farm along the river. An old man by "
    "the window had opened a school atlas on his knees and was turning its pages slowly, as if he had lost something "
    "between them. Across from him sat a girl of about ten with a notebook, who had been watching him for some time. "
    "When he noticed her he smiled, turned the book round and pushed it over the small table. She was to ask him "
    "anything she liked, he said, for he had taught geography for forty years and had not been asked a single "
    "question. She thought about it while the train crossed a long bridge. She asked about mountains first, and then "
    "about rivers and the names of the seas, and he answered everything at once and happily. Then she turned to the "
    "last page of her notebook, and read from the list. "
)

FRANCE = capital("France", "Paris", "Italy", "Rome")
TWENTY = tuple(capital(*fact, *foil) for fact, foil in zip(CAPITALS, CAPITALS[1:] + CAPITALS[:1], strict=True))
EIFFEL = Pair("The Eiffel Tower is located in the city of", "Paris", "", "Rome")

ITEMS = {
    item.name: item
    for item in (
        Item(
            "a",
            "restoration of residual stream, attention and MLP outputs, all layers and positions",
            "patch",
            (FRANCE,),
            6,
            grid(OUTPUTS, 6),
            (32, 64, 128),
        ),
        Item(
            "b",
            "restoration of every head (hook_z), all layers and positions",
            "patch",
            (FRANCE,),
            6,
            grid(("head",), 6, HEADS),
            (32, 64, 128),
        ),
        Item(
            "c",
            "zero knockout of every MLP neuron (hook_post), one by one, at all positions",
            "zero",
            (EIFFEL,),
            10,
            tuple(Trial(0, "neuron", layer, None, unit) for layer in range(LAYERS) for unit in range(NEURONS)),
            (25, 50, 100),
        ),
        Item(
            "d",
            "the restoration of (a) for a relation of 20 facts",
            "patch",
            TWENTY,
            6,
            grid(OUTPUTS, 6, pairs=len(TWENTY)),
            (32, 64, 128),
        ),
        Item(
            "e",
            "the restoration of (a) after 200 tokens of context",
            "patch",
            (capital("France", "Paris", "Italy", "Rome", CONTEXT),),
            206,
            grid(OUTPUTS, 206),
            (1, 5, 10),
        ),
    )
}
