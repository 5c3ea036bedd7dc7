"""Unedited runs: their activations, keys and values, by plain forward passes, kept for replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from lashley.core.run import Run
from lashley.core.site import Kind
from lashley.engine.attention import recording
from lashley.engine.hooks import Arguments, listening
from lashley.engine.model import Model
from lashley.engine.passes import forward


@dataclass
class Base:
    """One unedited run: per kind, activations [layers, tokens, width] (resid: one layer more, the last being
    what enters the final norm); keys and values [layers][kv heads, tokens, head width]."""

    acts: dict[Kind, Tensor] = field(default_factory=dict)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(t.nbytes for t in (*self.acts.values(), *self.keys, *self.values))


@dataclass
class Moments:
    """Mean and standard deviation over reference positions, per role class: kind -> class -> [layers, width]."""

    mean: dict[Kind, dict[str, Tensor]]
    sd: dict[Kind, dict[str, Tensor]]


def role_class(run: Run, position: int, last: int | None = None) -> str:
    """The class whose mean stands in for a position: begin, subject_last, final or other. From `last` on (where an
    answer begins; by default the run's last position) all are final.

    Without a beginning-of-text token position 0 is begin, also where it is the subject's last or the final one: a sink
    is unlike any position that has something before it, whatever its part in the sentence. So it neither gets the mean
    of such positions nor counts in it; its own mean is over the reference's first tokens, which has lost the subject.
    """
    if position < run.sink:
        return "begin"
    if position >= (len(run) - 1 if last is None else last):
        return "final"
    return "subject_last" if run.role(position) == "subject_last" else "other"


class Captures:
    """Unedited runs at hand, and the arguments that each decoder layer received.

    A pack holds just the runs that it needs, computed together: its numbers do not depend on what was computed
    before, so a resumed study gets the same ones, and memory stays bounded.
    """

    def __init__(self, model: Model):
        self.model = model
        self._bases: dict[Run, Base] = {}
        self._held: tuple = ()
        self._arguments: dict[int, list[Arguments]] = {}
        self._moments: dict[tuple[tuple[Run, ...], tuple[Kind, ...]], Moments] = {}

    def arguments(self, length: int) -> list[Arguments]:
        """Per layer, the (args, kwargs) beyond the hidden state that a plain pass of this length received."""
        if length not in self._arguments:
            received: list[Arguments] = []
            with torch.no_grad(), listening(self.model.module, self.model.family, received):
                self.model.forward(torch.ones(1, length, dtype=torch.long, device=self.model.device))
            self._arguments[length] = received
        return self._arguments[length]

    def hold(self, runs: Iterable[Run], kinds: Iterable[Kind] = ()) -> None:
        """Compute these runs with at least `kinds` (resid, keys and values always), and forget all others. What the
        last call computed together is not computed again."""
        wanted = (tuple(dict.fromkeys(runs)), frozenset(kinds))
        if wanted != self._held:
            self._bases = {}
            self._bases, self._held = self._compute(*wanted), wanted

    def get(self, runs: Sequence[Run], kinds: Iterable[Kind] = ()) -> list[Base]:
        """The bases of `runs`; those that are not held with these kinds are computed, and held too."""
        wanted: set[Kind] = {"resid", *kinds}
        missing = [r for r in runs if r not in self._bases or not wanted <= self._bases[r].acts.keys()]
        if missing:
            self._bases |= self._compute(missing, wanted)
        return [self._bases[run] for run in runs]

    def _compute(self, runs: Iterable[Run], kinds: Iterable[Kind]) -> dict[Run, Base]:
        wanted: set[Kind] = {"resid", *kinds}
        by_length: dict[int, list[Run]] = defaultdict(list)
        for run in dict.fromkeys(runs):
            by_length[len(run)].append(run)
        found: dict[Run, Base] = {}
        for length, group in by_length.items():
            size = max(1, self.model.tokens_per_pass // length)
            for i in range(0, len(group), size):
                found |= self._forward(group[i : i + size], sorted(wanted))
        return found

    @torch.no_grad()
    def _forward(self, runs: list[Run], kinds: list[Kind]) -> dict[Run, Base]:
        layers = len(self.model.blocks)
        acts: dict[Kind, list[Tensor]] = {k: [] for k in kinds}
        on = {}
        for kind in kinds:
            for layer in range(layers + (kind == "resid")):
                on[layer, kind] = partial(_append, acts[kind])

        store: dict[int, tuple[Tensor, Tensor]] = {}
        received: list[Arguments] = []
        with listening(self.model.module, self.model.family, received), recording(store):
            forward(self.model, runs, on)
        self._arguments.setdefault(len(runs[0]), received)
        stacked: dict[Kind, Tensor] = {
            k: torch.stack([x.to(self.model.device) for x in v], 1) for k, v in acts.items()
        }  # [runs, layers, tokens, width]
        return {
            run: Base(
                dict(zip(stacked, (v[i] for v in stacked.values()), strict=True)),
                [store[la][0][i] for la in sorted(store)],
                [store[la][1][i] for la in sorted(store)],
            )
            for i, run in enumerate(runs)
        }

    def moments(self, reference: tuple[Run, ...], kinds: Iterable[Kind]) -> Moments:
        """Means and standard deviations over the reference runs, by role class. A class without positions in
        the reference takes those of `other`."""
        kinds = tuple(sorted(set(kinds)))
        if (reference, kinds) not in self._moments:
            found = self._compute(reference, kinds)
            bases = [found[run] for run in reference]
            mean: dict[Kind, dict[str, Tensor]] = {k: {} for k in kinds}
            sd: dict[Kind, dict[str, Tensor]] = {k: {} for k in kinds}
            where = defaultdict(list)
            for i, run in enumerate(reference):
                for at in range(len(run)):
                    where[role_class(run, at)].append((i, at))
            for name in ("begin", "subject_last", "final", "other"):
                spots = where[name] or where["other"] or where["final"]
                for kind in kinds:
                    values = torch.stack([bases[i].acts[kind][:, at] for i, at in spots])  # [n, layers, width]
                    mean[kind][name] = values.mean(0)
                    sd[kind][name] = values.std(0, correction=0)
            self._moments[reference, kinds] = Moments(mean, sd)
        return self._moments[reference, kinds]


def _append(store: list[Tensor], x: Tensor) -> None:
    store.append(x.detach())
