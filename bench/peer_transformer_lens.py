"""TransformerLens as a worker: its bridge over the same folder, weights as they are.

one: `patching.generic_activation_patch`, of which `get_act_patch_resid_pre`, `_attn_out`, `_mlp_out` and
`_attn_head_out_by_pos` are partial applications, on all pairs of the item as one batch; for knockouts
`run_with_hooks` with one hook. many: `run_with_hooks` with hooks that edit each row elsewhere, unembedding the last
token only.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

import pandas as pd
import torch
from peer import Peer, Prepared, Values, against_transformers, by_site, tokenizer_of
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge
from work import Trial
from worker import serve

NAMES = {
    "resid": "hook_resid_pre",
    "attn": "hook_attn_out",
    "mlp": "hook_mlp_out",
    "head": "attn.hook_z",
    "neuron": "mlp.hook_post",
}
OWN = {
    "resid": ("resid_pre", patching.layer_pos_patch_setter),
    "attn": ("attn_out", patching.layer_pos_patch_setter),
    "mlp": ("mlp_out", patching.layer_pos_patch_setter),
    "head": ("z", patching.layer_pos_head_vector_patch_setter),
}


class Lens:
    """One bridge, and the two ways to use it."""

    def __init__(self, folder: str):
        # The converted folder does not name its architecture, which the bridge goes by.
        self.model = TransformerBridge.boot_transformers(
            folder,
            device="cpu",
            dtype=torch.float32,
            hf_config_overrides={"architectures": ["Gemma3ForCausalLM"]},
        )

    def one(self, prepared: Prepared, trials: list[Trial]) -> Values:
        if prepared.item.edit == "zero":
            return [self._knocked_out(prepared, trial) for trial in trials]
        pairs = range(len(prepared.item.pairs))
        _, cache = self.model.run_with_cache(prepared.clean)
        found: dict[Trial, float] = {}
        for kind in dict.fromkeys(t.kind for t in trials):
            name, setter = OWN[kind]
            cells = list(dict.fromkeys(t[2:] if kind == "head" else t[2:4] for t in trials if t.kind == kind))
            frame = pd.DataFrame(cells, columns=["layer", "pos", "head"][: len(cells[0])])
            result = patching.generic_activation_patch(
                self.model,
                prepared.edited,
                cache,
                partial(prepared.difference, pairs=pairs),
                setter,
                name,
                index_df=frame,
                reduce="none",
            )
            for cell, row in zip(cells, result.values.tolist(), strict=True):
                found |= {Trial(pair, kind, *cell): value for pair, value in zip(pairs, row, strict=True)}
        return [found[t] for t in trials]

    def _knocked_out(self, prepared: Prepared, trial: Trial) -> float:
        def hook(act, hook):
            act[:, :, trial.unit] = 0
            return act

        name = f"blocks.{trial.layer}.{NAMES[trial.kind]}"
        logits = self.model.run_with_hooks(prepared.edited[[trial.pair]], fwd_hooks=[(name, hook)])
        return float(prepared.difference(logits, [trial.pair])[0])

    def many(self, prepared: Prepared, batches: list[list[Trial]]) -> Values:
        patch = prepared.item.edit == "patch"
        wanted = {f"blocks.{t.layer}.{NAMES[t.kind]}" for trials in batches for t in trials}
        cache = self.model.run_with_cache(prepared.clean, names_filter=wanted.__contains__)[1] if patch else {}
        values: Values = []
        for trials in batches:
            hooks = []
            for (layer, kind), rows in by_site(trials).items():
                name = f"blocks.{layer}.{NAMES[kind]}"
                hooks.append((name, partial(_edit, rows=rows, source=cache[name] if patch else None)))
            pairs = [t.pair for t in trials]
            logits = self.model.run_with_hooks(prepared.edited[pairs], fwd_hooks=hooks, logits_to_keep=1)
            values += prepared.difference(logits, pairs).tolist()
        return values


def _edit(act, hook, rows: list[tuple[int, Trial]], source):
    for row, trial in rows:
        if source is None:
            act[row, :, trial.unit] = 0
        else:  # of a head, [position, head]
            at = trial.position if trial.unit is None else (trial.position, trial.unit)
            act[row][at] = source[trial.pair][at]
    return act


def load(folder: str) -> dict:
    """Open the model and say which versions run it and how far its logits are from plain transformers'."""
    global peer
    lens, tokenizer = Lens(folder), tokenizer_of(folder)
    peer = Peer(tokenizer, lens.one, lens.many)
    return {
        "versions": {n: version(n) for n in ("transformer-lens", "transformers", "torch")},
        "logits": against_transformers(folder, lens.model, tokenizer),
    }


if __name__ == "__main__":
    peer: Peer
    serve(load=load, measure=lambda **asked: peer.measure(**asked))
