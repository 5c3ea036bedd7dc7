"""circuitkit as a worker: edges of the embedded GPT-2 in its TransformerLens, weights as they are.

screen: `attribute` by its methods "EAP" and "EAP-IG-inputs", all pairs as one batch, on tokens given: its own
tokenizing of texts is passed over.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from time import perf_counter

import circuitkit  # before transformer_lens, which it patches
import torch
from circuitkit.backends.eap import attribute as eap
from circuitkit.backends.eap.graph import Graph
from hooked import hooked
from worker import THREADS, serve

torch.set_num_threads(THREADS)
METHODS = {"eap": "EAP", "eap-ig": "EAP-IG-inputs"}


def load(folder: str) -> dict:
    """Open the model and say which versions run it and how far its logits are from plain transformers'."""
    global model
    model, off = hooked(folder)
    versions = ("circuitkit", "transformer-lens", "transformers", "torch")
    return {"versions": {n: version(n) for n in versions}, "logits": off}


def screen(method: str, steps: int, clean: list, corrupt: list, target: list, foil: list) -> dict:
    """Seconds, and what patching each edge would change in the mean logit difference, by "eap" or "eap-ig"."""
    rows, answers, wrong = torch.arange(len(clean)), torch.tensor(target), torch.tensor(foil)
    tokens, other = torch.tensor(clean), torch.tensor(corrupt)
    lengths, width = torch.full((len(clean),), tokens.shape[1]), tokens.shape[1]
    eap.tokenize_batch_pair = lambda *_, **__: (tokens, other, None, None, lengths, width)

    def difference(logits, clean_logits, input_lengths, label):
        return (logits[rows, -1, answers] - logits[rows, -1, wrong]).sum()

    graph = Graph.from_model(model)
    start = perf_counter()
    eap.attribute(model, graph, [(clean, corrupt, target)], difference, METHODS[method], ig_steps=steps, quiet=True)
    seconds = perf_counter() - start
    return {"seconds": seconds, "scores": {_name(e): float(e.score) for e in graph.edges.values()}}


def _name(edge) -> str:
    """lashley's text of an edge."""
    letter = f".{edge.qkv}" if edge.qkv else ""
    return f"{_node(edge.parent.name)}->{_node(edge.child.name)}{letter}"


def _node(name: str) -> str:
    if found := re.fullmatch(r"m(\d+)", name):
        return f"L{found[1]}.mlp"
    if found := re.fullmatch(r"a(\d+)\.h(\d+)", name):
        return f"L{found[1]}.attn.h{found[2]}"
    return {"input": "embed", "logits": "logits"}[name]


if __name__ == "__main__":
    assert circuitkit
    serve(load=load, screen=screen)
