"""Path patching by definition, slowly: one receiver after another, whole decoder layers at a time.

Nothing here comes from `lashley.engine`. What a head makes of its three streams is had by three calls of its layer,
whose queries, keys and values are caught before the attention, which is done by hand.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tiny import EVERY, HEADS, build
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from lashley.core.run import Run

Edge = tuple[str, str]  # sender, receiver
Arguments = tuple[tuple, dict]  # of a layer, beside its stream


class Caught(Exception):
    pass


def catch(module, query, key, value, attention_mask, **kwargs):
    raise Caught(query, key, value, attention_mask, kwargs.get("scaling"), kwargs.get("softcap"))


AttentionInterface.register("caught", catch)
AttentionMaskInterface.register("caught", eager_mask)


class EdgeOracle:
    """One tiny model; `neurons` are drawn out of their MLPs, as "L1.mlp.n3"."""

    def __init__(self, name: str, neurons: Iterable[str] = ()):
        self.tiny = EVERY[name]
        self.module = build(name, "caught")
        self.plain = build(name, "eager")
        self.neurons = tuple(neurons)
        self.parallel = bool(getattr(self.tiny.config, "use_parallel_residual", False))

    @torch.no_grad()
    def logits(self, run: Run, source: Run, patched: set[Edge]) -> Tensor:
        """Final logits [vocabulary] of `run` with these edges from `source`."""
        theirs, _ = self._pass(source, set(), {})
        return self._pass(run, patched, theirs)[1]

    def _pass(self, run: Run, patched: set[Edge], theirs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """What every sender contributes, [tokens, width], and the final logits."""
        x, arguments = self._begin(run)
        sent = {"embed": x}

        def stream(receiver: str) -> Tensor:
            return x + sum(theirs[u] - sent[u] for u in sent if (u, receiver) in patched)

        for la, block in enumerate(self.module.get_submodule(self.tiny.layers).children()):
            zs = [
                self._head(block, arguments[la], h, [stream(f"L{la}.attn.h{h}.{i}") for i in "qkv"])
                for h in range(HEADS)
            ]
            project = block.get_submodule(self.tiny.head)
            apart = [torch.cat([z if i == h else 0 * z for i, z in enumerate(zs)], -1) for h in range(HEADS)]
            whole = project(torch.cat(zs, -1))
            scale = self._scale(block, self.tiny.head, self.tiny.attn, whole)
            heads = {f"L{la}.attn.h{h}": scale * (project(z) - project(0 * z)) for h, z in enumerate(apart)}
            if self.parallel:
                entering = stream(f"L{la}.mlp")
            sent |= heads
            x = x + scale * whole
            if not self.parallel:
                entering = stream(f"L{la}.mlp")
            acts, out = self._mlp(block, arguments[la], entering)
            drawn = {
                n: self._neuron(block, acts, int(n.split(".n")[1])) for n in self.neurons if n.startswith(f"L{la}.")
            }
            sent[f"L{la}.mlp"] = out - sum(drawn.values())
            sent |= drawn
            x = x + out
        final = self.module.get_submodule(self.tiny.norm)(stream("logits"))
        logits = self.module.get_output_embeddings()(final)[-1]
        cap = getattr(self.tiny.config, "final_logit_softcapping", None)
        return sent, logits if cap is None else cap * torch.tanh(logits / cap)

    def _begin(self, run: Run) -> tuple[Tensor, list[Arguments]]:
        """What enters layer 0, and what each layer gets beside its stream, from a pass of the untouched model."""
        heard, blocks = [], list(self.plain.get_submodule(self.tiny.layers).children())
        handles = [b.register_forward_pre_hook(lambda m, a, k: heard.append((a, k)), with_kwargs=True) for b in blocks]
        self.plain(torch.tensor([run.tokens]), use_cache=False)
        for handle in handles:
            handle.remove()
        x = (heard[0][0] or [heard[0][1]["hidden_states"]])[0][0]
        return x, [(a[1:], {k: v for k, v in more.items() if k != "hidden_states"}) for a, more in heard]

    def _head(self, block, arguments: Arguments, head: int, streams: list[Tensor]) -> Tensor:
        """One head's output [tokens, head width], from the streams of its queries, keys and values."""
        caught = []
        for x in streams:
            try:
                block(x[None], *arguments[0], **arguments[1])
            except Caught as e:
                caught.append(e.args)
        q = caught[0][0][0, head]
        k, v = (caught[i][i][0] for i in (1, 2))
        k, v = (y[head * len(y) // HEADS] for y in (k, v))
        scores = q @ k.T * caught[0][4]
        if (cap := caught[0][5]) is not None:
            scores = cap * torch.tanh(scores / cap)
        return (scores + caught[0][3][0, 0]).softmax(-1) @ v

    def _mlp(self, block, arguments: Arguments, x: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the MLP's output projection, and what is added to the stream, of a layer whose attention is 0."""
        seen = {}
        nothing = torch.zeros_like(x)[None]
        path = self.tiny.head.rpartition(".")[0]
        attention = block.get_submodule(path)
        forward, attention.forward = attention.forward, lambda *a, **k: (nothing, None)
        norm = block.get_submodule(self.tiny.attn) if self.tiny.attn != self.tiny.head else None
        handles = [block.get_submodule(self.tiny.mlp).register_forward_hook(lambda m, a, o: seen.setdefault("out", o))]
        if norm is not None:
            handles.append(norm.register_forward_hook(lambda m, a, o: torch.zeros_like(o)))
        if self.tiny.neuron:
            down = block.get_submodule(self.tiny.neuron)
            handles.append(down.register_forward_pre_hook(lambda m, a: seen.update(acts=a[0])))
        block(x[None], *arguments[0], **arguments[1])
        attention.forward = forward
        for handle in handles:
            handle.remove()
        acts = seen["acts"].view(len(x), -1) if self.tiny.neuron else torch.empty(0)
        return acts, seen["out"].view(len(x), -1)

    def _neuron(self, block, acts: Tensor, unit: int) -> Tensor:
        """What one neuron adds to the stream, [tokens, width]."""
        down = block.get_submodule(self.tiny.neuron)
        only = torch.where(torch.arange(acts.shape[-1]) == unit, acts, 0)
        return self._scale(block, self.tiny.neuron, self.tiny.mlp, down(acts)) * (down(only) - down(0 * only))

    def _scale(self, block, inner: str, outer: str, y: Tensor) -> Tensor | float:
        """What a norm of root mean squares between the two makes of each number of y [tokens, width]."""
        if inner == outer:
            return 1.0
        norm = block.get_submodule(outer)
        eps = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
        weight = norm(torch.full_like(y, 1e4))
        return weight * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)
