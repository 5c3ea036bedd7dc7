"""AutoCircuit as a worker: edges of the embedded GPT-2 in its TransformerLens, weights as they are.

screen: `mask_gradient_prune_scores` with masks at 0, which is EAP, all pairs as one batch. patch: `patch_mode`, one
edge set a pass over all pairs.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from time import perf_counter

import torch
from auto_circuit.data import PromptDataLoader, PromptDataset
from auto_circuit.prune_algos.mask_gradient import mask_gradient_prune_scores
from auto_circuit.types import AblationType
from auto_circuit.utils.ablation_activations import batch_src_ablations
from auto_circuit.utils.graph_utils import patch_mode, patchable_model
from hooked import hooked
from worker import THREADS, serve

torch.set_num_threads(THREADS)


def load(folder: str) -> dict:
    """Open the model and say which versions run it and how far its logits are from plain transformers'."""
    global model
    lens, off = hooked(folder)
    lens.cfg.use_attn_in = True
    lens.requires_grad_(False)
    model = patchable_model(lens, factorized=True, slice_output="last_seq", separate_qkv=True)
    versions = ("auto-circuit", "transformer-lens", "transformers", "torch")
    return {"versions": {n: version(n) for n in versions}, "logits": off}


def screen(method: str, steps: int, **pairs: list) -> dict:
    """Seconds, and by EAP, the only `method`, what patching each edge would change in the mean logit difference."""
    assert method == "eap", method
    loader = _loader(**pairs)
    start = perf_counter()
    found = mask_gradient_prune_scores(model, loader, None, "logit", "avg_diff", mask_val=0.0)
    seconds = perf_counter() - start
    scores = {_name(edge): -float(found[edge.dest.module_name][edge.patch_idx]) for edge in model.edges}
    return {"seconds": seconds, "scores": scores}


def patch(sets: list[list[str]], **pairs: list) -> dict:
    """Seconds, and the logit difference of every pair under each edge set, [sets][pairs]."""
    loader = _loader(**pairs)
    (batch,) = loader
    edges = {_name(edge): edge for edge in model.edges}
    target, foil = torch.tensor(pairs["target"]), torch.tensor(pairs["foil"])
    rows = torch.arange(len(target))
    values = []
    with torch.no_grad():
        start = perf_counter()
        sources = batch_src_ablations(model, loader, AblationType.RESAMPLE, "corrupt")[batch.key]
        for names in sets:
            with patch_mode(model, sources, [edges[name] for name in names]):
                last = model(batch.clean)[model.out_slice]
            values.append((last[rows, target] - last[rows, foil]).tolist())
        seconds = perf_counter() - start
    return {"seconds": seconds, "values": values}


def _loader(clean: list, corrupt: list, target: list, foil: list) -> PromptDataLoader:
    """All pairs as one batch: token ids [pairs, tokens] and [pairs]."""
    answers, wrong = ([torch.tensor([token]) for token in tokens] for tokens in (target, foil))
    prompts = PromptDataset(torch.tensor(clean), torch.tensor(corrupt), answers, wrong)
    return PromptDataLoader(prompts, seq_len=None, diverge_idx=0, batch_size=len(clean), shuffle=False)


def _name(edge) -> str:
    """lashley's text of an edge."""
    return f"{_node(edge.src.name)}->{_node(edge.dest.name)}"


def _node(name: str) -> str:
    if name in ("Resid Start", "Resid End"):
        return {"Resid Start": "embed", "Resid End": "logits"}[name]
    if found := re.fullmatch(r"MLP (\d+)", name):
        return f"L{found[1]}.mlp"
    layer, head, *letter = name.removeprefix("A").split(".")
    return ".".join([f"L{layer}.attn.h{head}", *(x.lower() for x in letter)])


if __name__ == "__main__":
    serve(load=load, screen=screen, patch=patch)
