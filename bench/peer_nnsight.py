"""nnsight as a worker, by its documented `trace`.

one: a trace an edit, with the model's own logits, as its tutorials have it. many: one trace over a batch, each row
edited at its own site, and the last token only unembedded (`logits_to_keep=1`).
"""

from __future__ import annotations

from importlib.metadata import version

import nnsight
import torch
from nnsight import TransformersModel
from peer import Peer, Prepared, Values, against_transformers, by_site
from work import HEAD_WIDTH, Trial
from worker import serve


def site(block, kind: str) -> torch.Tensor:
    """The activation that `kind` names in one decoder layer, inside a trace."""
    match kind:
        case "resid":
            return block.input
        case "attn":
            return block.post_attention_layernorm.output
        case "mlp":
            return block.post_feedforward_layernorm.output
        case "head":
            return block.self_attn.o_proj.input.unflatten(-1, (-1, HEAD_WIDTH))
        case _:
            return block.mlp.down_proj.input


class Sight:
    """One model, and the two ways to use it."""

    def __init__(self, folder: str):
        self.model = TransformersModel(folder, task="text-generation", dtype=torch.float32, dispatch=True)

    def one(self, prepared: Prepared, trials: list[Trial]) -> Values:
        return self.many(prepared, [[t] for t in trials], keep=0)

    def many(self, prepared: Prepared, batches: list[list[Trial]], keep: int = 1) -> Values:
        """`keep`: how many tokens at the end are unembedded; 0: all."""
        model = self.model
        source = self._clean(prepared, batches) if prepared.item.edit == "patch" else None
        values: Values = []
        for trials in batches:
            pairs = [t.pair for t in trials]
            sites = by_site(trials)
            with model.trace(prepared.edited[pairs], logits_to_keep=keep):
                for (layer, kind), rows in sites.items():
                    act = site(model.model.layers[layer], kind)
                    for row, trial in rows:
                        if source is None:
                            act[row, :, trial.unit] = 0
                        else:
                            at = trial.position if trial.unit is None else (trial.position, trial.unit)
                            act[row][at] = source[layer, kind][trial.pair][at]
                logits = model.output.logits.save()
            values += prepared.difference(logits, pairs).tolist()
        return values

    def _clean(self, prepared: Prepared, batches: list[list[Trial]]) -> dict[tuple[int, str], torch.Tensor]:
        """Activations of the clean runs at every layer and kind that is asked for."""
        wanted = by_site([t for trials in batches for t in trials])
        model = self.model
        with model.trace(prepared.clean, logits_to_keep=1):
            acts = nnsight.save({})
            for layer, kind in wanted:
                acts[layer, kind] = site(model.model.layers[layer], kind).clone()
        return acts


def load(folder: str) -> dict:
    """Open the model and say which versions run it and how far its logits are from plain transformers'."""
    global peer
    sight = Sight(folder)
    peer = Peer(sight.model.tokenizer, sight.one, sight.many)

    def logits(ids: torch.Tensor) -> torch.Tensor:
        with sight.model.trace(ids):
            out = sight.model.output.logits.save()
        return out

    return {
        "versions": {n: version(n) for n in ("nnsight", "transformers", "torch")},
        "logits": against_transformers(folder, logits, sight.model.tokenizer),
    }


if __name__ == "__main__":
    peer: Peer
    serve(load=load, measure=lambda **asked: peer.measure(**asked))
