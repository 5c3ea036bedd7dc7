"""A forward pass in which every receiver reads a residual stream of its own: the one mechanism behind circuits.

The stream itself goes on as it is. What enters a receiver is the stream, plus for each patched edge the difference
between what its sender contributes in the source run and what it contributes now. An attention's queries, keys and
values are made of their receivers' streams by the layer's own norm and projections, of which each head's slice is
kept, and put in place of the module's; rotary angles, norms of queries and keys, soft caps, windows, the output
projection and what follows it stay the model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from lashley.core.errors import BadSite
from lashley.core.graph import INPUTS, Graph
from lashley.core.run import Run
from lashley.core.site import Site
from lashley.engine.hooks import OnSite, rerouted
from lashley.engine.linear import bias, inputs_first, outputs_first
from lashley.engine.model import Model
from lashley.engine.passes import Place, forward


def refuse(model: Model) -> None:
    """Raises `BadSite` where the receivers of a family cannot be told apart."""
    if not model.family.queries:
        raise BadSite(
            f"{model.anatomy.family}'s attention cannot be reached, so no edge can be patched; choose another model"
        )


class Wiring:
    """One pass of rows of equal length.

    `patched` bool [rows, receivers, senders] takes from `source` [sources, senders, tokens, width], what the senders
    contribute in the source runs, number `pick` [rows]; without them nothing is patched. After the pass, `sent` is
    what the senders contributed, [rows, senders, tokens, width], or, where patched, how much less than the source's.
    With `slopes` it is not noted; instead zeros are added to every receiver's stream, and their gradients are those of
    the receivers: `leaves`, in the order of the receivers, [rows, receivers of a sub-layer, tokens, width].
    `embed` takes the place of what enters layer 0.
    """

    def __init__(
        self,
        model: Model,
        graph: Graph,
        patched: Tensor | None = None,
        source: Tensor | None = None,
        pick: Tensor | None = None,
        slopes: bool = False,
        embed: Tensor | None = None,
    ):
        refuse(model)
        self.model, self.graph, self.embed = model, graph, embed
        self.patched, self.source, self.pick = patched, source, pick
        self.slopes = slopes
        self.leaves: list[Tensor] = []
        self.sent: Tensor | None = None
        self.hidden: Tensor | None = None  # entering the final norm, [rows, tokens, width]
        self._live = None if patched is None else patched.any(2).any(0).tolist()
        self._number = {name: i for i, name in enumerate(graph.senders)}
        self._drawn: dict[int, list[int]] = {}
        for site in map(Site.parse, graph.neurons):
            self._drawn.setdefault(site.layer, []).append(site.unit or 0)
        self._made: dict[str, Tensor | None] = {}  # of the layer at hand: what was seen, and what is put in place

    def run(self, runs: Sequence[Run]) -> Tensor:
        """Hidden states after the final norm, [rows, tokens, width]."""
        on: dict[Place, OnSite] = {}
        reading: dict[tuple[int, str], OnSite] = {}
        leaving: dict[tuple[int, str], OnSite] = {}
        family = self.model.family
        for la in range(self.graph.layers):
            on[la, "resid"] = partial(self._enter, la)
            on[la, "head"] = partial(self._see, "heads")
            on[la, "attn"] = partial(self._heads_sent, la)
            on[la, "mlp"] = partial(self._mlp_sent, la)
            if la in self._drawn:
                on[la, "neuron"] = partial(self._see, "neurons")
            if family.attn != family.heads:
                leaving[la, family.heads] = partial(self._see, "attn")
            if family.neurons and family.mlp != family.neurons:
                leaving[la, family.neurons] = partial(self._see, "mlp")
            for name, path in self._paths().items():
                leaving[la, path] = partial(self._put, name)
            reading[la, family.mlp_norm] = partial(self._mlp_reads, la)
        on[self.graph.layers, "resid"] = self._logits_read
        module = self.model.module
        with _ungrouped(self.model), rerouted(module, family, reading, leaving):
            return forward(self.model, runs, on)

    # -- what is read -----------------------------------------------------------------------------------------

    def _receive(self, x: Tensor, first: int, stop: int) -> Tensor:
        """The streams that receivers `first .. stop` read, [rows, receivers, tokens, width]."""
        streams = x[:, None].expand(-1, stop - first, -1, -1)
        if self._live is not None and any(self._live[first:stop]):
            assert self.patched is not None and self.sent is not None
            members = int(self.graph.reach[first])
            weights = self.patched[:, first:stop, :members].to(x)
            streams = streams + (weights @ self.sent[:, :members].to(x.device).flatten(2)).view(streams.shape)
        if self.slopes:
            self.leaves.append(torch.zeros_like(streams, memory_format=torch.contiguous_format).requires_grad_())
            streams = streams + self.leaves[-1]
        return streams

    def _unchanged(self, first: int, stop: int) -> bool:
        return not self.slopes and not (self._live is not None and any(self._live[first:stop]))

    def _enter(self, layer: int, x: Tensor) -> Tensor | None:
        if layer == 0:
            x = x if self.embed is None else self.embed.to(x)
            if not self.slopes:
                self._send("embed", x)
        first = layer * (3 * self.graph.heads + 1)
        stop = first + 3 * self.graph.heads
        self._made.clear()
        if self.model.family.fused_keys or not self._unchanged(first, stop):
            streams = self._receive(x, first, stop).unflatten(1, (3, -1))
            self._made |= self._projected(layer, streams)
        return x if layer == 0 and self.embed is not None else None

    def _mlp_reads(self, layer: int, x: Tensor) -> Tensor | None:
        at = layer * (3 * self.graph.heads + 1) + 3 * self.graph.heads
        return None if self._unchanged(at, at + 1) else self._receive(x, at, at + 1)[:, 0]

    def _logits_read(self, x: Tensor) -> Tensor | None:
        at = len(self.graph.receivers) - 1
        self.hidden = x if self._unchanged(at, at + 1) else self._receive(x, at, at + 1)[:, 0]
        return self.hidden

    def _put(self, name: str, x: Tensor) -> Tensor | None:
        return self._made.get(name)

    def _paths(self) -> dict[str, str]:
        """Where queries, keys and values, or all of them, are put."""
        family = self.model.family
        if family.fused:
            return {"qkv": family.queries[-1]}
        return dict(zip(INPUTS, (family.queries[-1], family.keys[-1], family.values[-1]), strict=True))

    def _projected(self, layer: int, streams: Tensor) -> dict[str, Tensor | None]:
        """Of streams [rows, 3, heads, tokens, width] what the attention is given in place of its own queries, keys
        and values, [rows, tokens, heads * head width] or all three."""
        family, block, width = self.model.family, self.model.blocks[layer], self.model.anatomy.head_width
        if family.attn_norm:
            streams = block.get_submodule(family.attn_norm)(streams)
        made = []
        for i, chain in enumerate((family.queries, family.keys, family.values)):
            modules = [block.get_submodule(path) for path in chain]
            if len(modules) > 1:
                made.append(_sliced(modules, streams[:, i], width))
            else:
                made.append(_linear(streams[:, i], *self._weights(modules[0], i)))
        if family.fused == "heads":
            return {"qkv": torch.stack(made, 2).permute(0, 3, 1, 2, 4).flatten(2)}
        flat = [x.transpose(1, 2).flatten(2) for x in made]
        return {"qkv": torch.cat(flat, -1)} if family.fused else dict(zip(INPUTS, flat, strict=True))

    def _weights(self, module: nn.Module, which: int) -> tuple[Tensor, Tensor | None]:
        """Of the queries, keys or values the weight, [heads of that kind, head width, width], and bias."""
        heads, width = self.graph.heads, self.model.anatomy.head_width
        parts = []
        for x in (outputs_first(module), bias(module)):
            if x is None:
                parts.append(None)
            elif self.model.family.fused == "heads":
                parts.append(x.unflatten(0, (heads, 3, width))[:, which])
            elif self.model.family.fused == "blocks":
                groups = (len(x) // width - heads) // 2
                sizes = [n * width for n in (heads, groups, groups)]
                parts.append(x.split(sizes)[which].unflatten(0, (-1, width)))
            else:
                parts.append(x.unflatten(0, (-1, width)))
        return parts[0], parts[1]

    # -- what is sent -----------------------------------------------------------------------------------------

    def _send(self, first: str, *contributions: Tensor) -> None:
        """Note what senders in a row contribute, each [rows, tokens, width]."""
        x = contributions[0].detach()
        if self.sent is None:
            self.sent = x.new_empty(len(x), len(self._number), *x.shape[1:], device=self.model.device)
        at = self._number[first]
        for i, y in enumerate(contributions, at):
            y = y.detach().to(self.sent.device)
            self.sent[:, i] = y if self.source is None else self.source[self.pick, i] - y

    def _see(self, name: str, x: Tensor) -> None:
        self._made[name] = x

    def _heads_sent(self, layer: int, x: Tensor) -> None:
        if self.slopes:
            return
        projection = self.model.blocks[layer].get_submodule(self.model.family.heads)
        z = self._made["heads"]
        assert z is not None
        weight = inputs_first(projection).unflatten(0, (self.graph.heads, -1))
        out = torch.einsum("bthe,hed->hbtd", z.unflatten(-1, (self.graph.heads, -1)), weight)
        if (added := bias(projection)) is not None:
            out = out + added / self.graph.heads  # so that heads add up to the whole under a norm's scale, too
        self._send(f"L{layer}.attn.h0", *(out * self._scale("attn", x)))

    def _mlp_sent(self, layer: int, x: Tensor) -> None:
        if self.slopes:
            return
        drawn = self._drawn.get(layer, [])
        if not drawn:
            return self._send(f"L{layer}.mlp", x)
        acts = self._made["neurons"]
        assert acts is not None
        outputs = self.model.neuron_outputs(layer)
        scale = self._scale("mlp", x)
        neurons = [acts[..., n, None] * outputs[n] * scale for n in drawn]
        self._send(f"L{layer}.mlp", x - torch.stack(neurons).sum(0), *neurons)

    def _scale(self, name: str, x: Tensor) -> Tensor | float:
        """What a norm after the sub-layer made of each number of its output; 0 where there was nothing."""
        before = self._made.pop(name, None)
        if before is None:
            return 1.0
        return torch.where(before == 0, 0, x / torch.where(before == 0, 1, before))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [rows, heads, tokens, width] by the weight of each head's group [groups, head width, width]."""
    groups = len(weight)
    rows = x.unflatten(1, (groups, -1)).transpose(0, 1)  # [groups, rows, heads of a group, tokens, width]
    out = rows.flatten(1, 3) @ weight.transpose(1, 2)
    if bias is not None:
        out = out + bias[:, None]
    return out.view(*rows.shape[:-1], -1).transpose(0, 1).flatten(1, 2)


def _sliced(modules: Sequence[nn.Module], x: Tensor, width: int) -> Tensor:
    """x [rows, heads, tokens, width] through whole modules, of each head the slice that is its own."""
    for module in modules:
        x = module(x)
    heads = torch.arange(x.shape[1], device=x.device)
    own = x.unflatten(-1, (-1, width))
    return own[:, heads, :, heads * own.shape[3] // len(heads)].transpose(0, 1)


@contextmanager
def _ungrouped(model: Model) -> Iterator[None]:
    """Let attentions that cut a fused projection into parts take as many keys and values as queries."""
    name = model.family.fused_keys
    path = model.family.heads.rpartition(".")[0]
    modules = [block.get_submodule(path) for block in model.blocks] if name else []
    before = [getattr(m, name or "") for m in modules]
    for module in modules:
        setattr(module, name or "", model.anatomy.heads)
    try:
        yield
    finally:
        for module, groups in zip(modules, before, strict=True):
            setattr(module, name or "", groups)
