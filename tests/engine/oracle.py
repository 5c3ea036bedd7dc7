"""A tiny model under plain forward passes with hooks of the test's own: what the engine has to agree with.

Nothing here comes from `lashley.engine`; the eager attention is transformers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from tiny import EVERY, HEADS, build
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from lashley.core.edit import Add, Constant, Edit, Mean, Patch, ProjectOut, Resample, Zero
from lashley.core.readout import KL, LogitDifference, LogProbability, Loss, Probability, Rank, Readout
from lashley.core.run import Run
from lashley.core.site import Kind, Site

Edits = Sequence[tuple[Site, Edit]]
Tokens = tuple[int, ...]
Change = Callable[[Tensor], Tensor]  # activation [1, tokens, width] -> another


class Oracle:
    """One tiny model. `edits` are (site, edit) with positions resolved: an index, or None for all."""

    def __init__(self, name: str, dtype: torch.dtype = torch.float32):
        self.tiny = EVERY[name]
        self.module = build(name, "eager", dtype)
        self.blocks = list(self.module.get_submodule(self.tiny.layers).children())
        self._seen: dict[tuple[Run, Tokens], dict[tuple[int, Kind], Tensor]] = {}

    def places(self) -> list[tuple[int, Kind]]:
        """Every layer and kind, the final residual stream included."""
        n = len(self.blocks)
        kinds: list[Kind] = ["resid", "head", "attn", *(["neuron"] if self.tiny.neuron else []), "mlp"]
        every: list[tuple[int, Kind]] = [(la, k) for la in range(n) for k in kinds]
        return [*every, (n, "resid")]

    @contextmanager
    def changed(self, changes: Mapping[tuple[int, Kind], Change]) -> Iterator[None]:
        handles = []
        for (layer, kind), change in changes.items():
            if layer == len(self.blocks):
                module = self.module.get_submodule(self.tiny.norm)
            else:
                block = self.blocks[layer]
                module = block if kind == "resid" else block.get_submodule(getattr(self.tiny, kind))
            if kind in ("attn", "mlp"):
                hook = module.register_forward_hook(lambda m, args, out, f=change: batched(f, out))
            else:
                hook = module.register_forward_pre_hook(lambda m, args, f=change: (batched(f, args[0]), *args[1:]))
            handles.append(hook)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, run: Run, more: Tokens, changes: Mapping[tuple[int, Kind], Change]) -> Tensor:
        """Logits [tokens, vocabulary] of `run` followed by `more`."""

        def embed(x: Tensor) -> Tensor:
            if run.noise:
                first, stop = run.subject
                draw = torch.Generator().manual_seed(run.noise.seed)
                x = x.clone()
                x[0, first:stop] += run.noise.sd * torch.randn(stop - first, x.shape[-1], generator=draw)
            return changes[0, "resid"](x) if (0, "resid") in changes else x

        with self.changed({**changes, (0, "resid"): embed}):
            return self.module(torch.tensor([run.tokens + more])).logits[0]

    @torch.no_grad()
    def seen(self, run: Run, more: Tokens = ()) -> dict[tuple[int, Kind], Tensor]:
        """Every activation of the unedited run, [tokens, width]."""
        if (run, more) not in self._seen:
            caught = {}

            def catch(place) -> Change:
                return lambda x: caught.setdefault(place, x.clone())

            self.forward(run, more, {place: catch(place) for place in self.places()})
            self._seen[run, more] = {place: x[0] for place, x in caught.items()}
        return self._seen[run, more]

    @torch.no_grad()
    def edited(self, run: Run, more: Tokens, edits: Edits) -> Tensor:
        """Logits of `run` followed by `more` under `edits`, float64 [tokens, vocabulary]."""
        changes: dict[tuple[int, Kind], Change] = {}
        for place in {(site.layer, site.kind) for site, _ in edits}:
            here = [(s, self._written(s, e, run, more)) for s, e in edits if (s.layer, s.kind) == place]

            def change(x: Tensor, here=here) -> Tensor:
                x = x.clone()
                for site, written in here:
                    part = unit(x[0], site)
                    at = slice(None) if site.position is None else [site.position]
                    part[at] = written(part)[at]
                return x

            changes[place] = change
        return self.forward(run, more, changes).double()

    @torch.no_grad()
    def blocked(self, run: Run, more: Tokens, sites: Sequence[Site], keys: Sequence[int]) -> Tensor:
        """Logits under attention knockout: -inf added to the eager attention's own mask, float64."""
        handles = []
        for site in sites:

            def mask(module, args, kwargs, site=site):
                old = kwargs["attention_mask"]
                new = old.expand(-1, HEADS, -1, -1).clone()
                heads = slice(None) if site.unit is None else site.unit
                queries = slice(None) if site.position is None else site.position
                for key in keys:
                    new[:, heads, queries, key] = torch.finfo(new.dtype).min
                return args, {**kwargs, "attention_mask": new}

            attention = self.blocks[site.layer].get_submodule(self.tiny.head.rpartition(".")[0])
            handles.append(attention.register_forward_pre_hook(mask, with_kwargs=True))
        try:
            return self.forward(run, more, {}).double()
        finally:
            for handle in handles:
                handle.remove()

    def _written(self, site: Site, edit: Edit, run: Run, more: Tokens) -> Change:
        """What `edit` makes of the site's activation [tokens, site width]."""
        place = (site.layer, site.kind)
        match edit:
            case Zero():
                return torch.zeros_like
            case Patch(source) | Resample(source):
                found = unit(self.seen(source, more)[place], site)
                return lambda now: found
            case Mean(reference):
                spots = [(role(r, p), unit(self.seen(r)[place], site)[p]) for r in reference for p in range(len(r))]
                roles = [role(run, p) for p in range(len(run) + len(more))]
                means = torch.stack([torch.stack([x for name, x in spots if name == r]).mean(0) for r in roles])
                return lambda now: means
            case Constant(vector):
                return lambda now: floats(vector).expand_as(now)
            case Add(vector, scale):
                return lambda now: now + scale * floats(vector)
            case ProjectOut(vector):
                v = floats(vector)
                return lambda now: now - (now @ v)[:, None] * v / (v @ v)
        raise AssertionError(edit)

    def values(self, run: Run, edits: Edits, readouts: Sequence[Readout]) -> list[float]:
        """Every readout of one trial."""
        logits = cache(lambda more=(): self.edited(run, more, edits))
        return [float(score(r, run, logits, lambda: self.edited(run, (), ()))) for r in readouts]

    def gradient(self, run: Run, readout: Readout) -> dict[tuple[int, Kind], Tensor]:
        """Gradient with respect to something added to each activation of the run, by autograd, [tokens, width]."""
        zeros = {p: torch.zeros_like(x).requires_grad_() for p, x in self.seen(run).items()}

        def logits(more: Tokens = ()) -> Tensor:
            added = {p: lambda x, z=z: x + pad(z, (0, 0, 0, len(more))) for p, z in zeros.items()}
            return self.forward(run, more, added)

        score(readout, run, logits).backward()
        return {p: z.grad for p, z in zeros.items()}


def score(readout: Readout, run: Run, logits: Callable[..., Tensor], unedited=None) -> Tensor:
    """A readout from the logits [tokens, vocabulary] of `run` followed by the tokens that `logits` is given.

    `unedited` gives those of the unedited run, for the readouts that compare.
    """

    def forced(answer: Tokens) -> Tensor:
        log_p = logits(answer[:-1]).log_softmax(-1)
        return torch.stack([log_p[len(run) - 1 + i, token] for i, token in enumerate(answer)]).sum()

    match readout:
        case LogitDifference((target,), (foil,)):
            return logits()[-1, target] - logits()[-1, foil]
        case LogitDifference(target, foil):
            return forced(target) - forced(foil)
        case LogProbability(target):
            return forced(target)
        case Probability(target):
            return forced(target).exp()
        case Rank(target, candidates):
            rivals = logits()[-1, list(candidates)] if candidates else logits()[-1]
            return 1 + (rivals > logits()[-1, target[0]]).sum()
        case KL():
            now, before = (x[-1].log_softmax(-1) for x in (logits(), unedited()))
            return (now.exp() * (now - before)).sum()
        case Loss():
            return cross_entropy(logits()[:-1], torch.tensor(run.tokens[1:]))


def unit(x: Tensor, site: Site) -> Tensor:
    """The part of an activation [tokens, width] that the site names, [tokens, site width], a view."""
    if site.kind == "head":
        return x.unflatten(-1, (HEADS, -1))[:, site.unit]
    return x if site.unit is None else x[:, site.unit, None]


def batched(change: Change, x: Tensor) -> Tensor:
    """`change` on an activation that may have lost its batch of one (OPT's MLP)."""
    return change(x) if x.ndim == 3 else change(x[None])[0]


def floats(data: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, "<f4").copy())


def role(run: Run, position: int) -> str:
    """The role under which means are taken: begin (position 0 in any case), final (an answer's tokens too),
    subject_last or other."""
    if position == 0 or position < run.begin:
        return "begin"
    if position >= len(run) - 1:
        return "final"
    return "subject_last" if position == run.subject[1] - 1 else "other"
