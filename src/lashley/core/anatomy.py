"""The shape of a model, as much as a plan needs to know."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lashley.core.errors import BadPrompt, BadSite
from lashley.core.site import KINDS, Kind, Site, Sites


class Anatomy(msgspec.Struct, frozen=True):
    """Counts of a decoder-only model. `width` is that of the residual stream, `vocabulary` in tokens; `neurons` is 0
    where the MLP has no single output projection. `parallel` models' attention and MLP read the same stream."""

    family: str
    layers: int
    heads: int
    head_width: int
    neurons: int
    width: int
    vocabulary: int
    context: int
    parallel: bool = False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of site that the model has."""
        return tuple(k for k in KINDS if self.units(k))

    def units(self, kind: Kind) -> int:
        """How many units of a kind one layer has (1 for whole sub-layers)."""
        return {"head": self.heads, "neuron": self.neurons}.get(kind, 1)

    def site_width(self, kind: Kind) -> int:
        """Numbers per position at one site of this kind."""
        return {"head": self.head_width, "neuron": 1}.get(kind, self.width)

    def check(self, site: Site) -> Site:
        """The site itself, if the model has it. Raises `BadSite`."""
        last = self.layers if site.kind == "resid" else self.layers - 1
        if site.layer > last:
            raise BadSite(f"site {site}: the model has layers L0 to L{last} for {site.kind}; choose one of them")
        self._has(site.kind)
        if site.unit is not None and site.unit >= self.units(site.kind):
            raise BadSite(
                f"site {site}: layer {site.layer} has {self.units(site.kind)} {site.kind}s, "
                f"numbered from 0; choose a smaller number"
            )
        return site

    def check_tokens(self, ids: Sequence[int], text: str) -> None:
        """Raises `BadPrompt` where the tokenizer knows tokens that the model does not embed, and `text` has one."""
        if ids and not 0 <= min(ids) <= max(ids) < self.vocabulary:
            outside = min(ids) if min(ids) < 0 else max(ids)
            raise BadPrompt(
                f"{text!r} has token {outside}, and the model embeds {self.vocabulary}, numbered from 0; "
                "leave out what it stands for"
            )

    def every(self, kind: Kind) -> Sites:
        """Every unit of a kind, in all layers, at all positions; one trial each. Raises `BadSite`."""
        self._has(kind)
        n = self.units(kind)
        layer = [la for la in range(self.layers) for _ in range(n)]
        unit = list(range(n)) * self.layers if kind in ("head", "neuron") else -1
        return Sites.pack(layer, KINDS.index(kind), unit)

    def _has(self, kind: Kind) -> None:
        if kind not in self.kinds:
            raise BadSite(
                f"{self.family} has no {kind} sites: its MLP has no single output projection; choose mlp or attn.h3"
            )
