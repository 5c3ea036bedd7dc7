"""Sets of a graph's edges, as marks bool [edges]: the strongest, those on a path, random connected ones."""

from __future__ import annotations

import random

import numpy as np

from lashley.core.graph import Graph

SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # shares of the edges, as in MIB (2504.13151)


def count(graph: Graph, share: float) -> int:
    """How many edges a circuit of that share has, before it is cut down: rounded down, as MIB's code does."""
    return int(share * len(graph))


def strongest(scores: np.ndarray, size: int) -> np.ndarray:
    """The `size` edges of largest |score|: `apply_topn` of the public EAP-IG code, not its greedy search from the
    logits; MIB scores circuits so."""
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(-np.abs(scores), kind="stable")[:size]] = True
    return chosen


def pruned(graph: Graph, chosen: np.ndarray) -> np.ndarray:
    """The chosen edges that lie on a path of chosen edges from the embedding to the logits.

    The function computed stays the same: what nothing reaches is the corrupt run's, and what reaches nothing is not
    heard. As `prune` of the public EAP-IG code.
    """
    wired = graph.dense(chosen)
    inputs = feeders(graph)
    alive = np.zeros(len(graph.senders), bool)
    alive[0] = True
    for sender in range(1, len(alive)):
        alive[sender] = (wired[inputs[sender]] & alive).any()
    heard = np.zeros(len(graph.receivers), bool)
    heard[-1] = True
    for sender in reversed(range(1, len(alive))):
        if wired[heard, sender].any():
            heard[inputs[sender]] = True
    sender, receiver = graph.edges.T
    return chosen & alive[sender] & heard[receiver]


def feeders(graph: Graph) -> list[list[int]]:
    """For every sender the receivers that its component reads by; none for the embedding."""
    numbers = {name: i for i, name in enumerate(graph.receivers)}
    found = []
    for sender in graph.senders:
        part, _, unit = sender.rpartition(".")
        names = [f"{sender}.{x}" for x in "qkv"] if unit.startswith("h") else [part if unit.startswith("n") else sender]
        found.append([numbers[name] for name in names if name in numbers])
    return found


def drawn(graph: Graph, size: int, seed: str) -> np.ndarray:
    """A random connected circuit of at least `size` edges: random paths from the embedding to the logits, each through
    a random edge, until there are enough. Edges thrown in at random would hardly ever connect, and so be no control."""
    if size >= len(graph):
        return np.ones(len(graph), bool)
    rng = random.Random(seed)
    inputs, reach, edges = feeders(graph), graph.reach.tolist(), graph.edges.tolist()
    starts = (np.cumsum(reach) - reach).tolist()
    owners: dict[int, list[int]] = {}
    for sender, receivers in enumerate(inputs):
        for receiver in receivers:
            owners.setdefault(receiver, []).append(sender)
    heard_by = [[r for r, n in enumerate(reach) if n > sender] for sender in range(len(inputs))]
    chosen = np.zeros(len(graph), bool)
    left = size
    while left > 0:
        edge = rng.randrange(len(graph))
        path = [edge]
        sender, receiver = edges[edge]
        while sender:
            into = rng.choice(inputs[sender])
            sender = rng.randrange(reach[into])
            path.append(starts[into] + sender)
        while receiver in owners:
            node = rng.choice(owners[receiver])
            receiver = rng.choice(heard_by[node])
            path.append(starts[receiver] + node)
        chosen[path] = True
        left = size - int(chosen.sum())
    return chosen


def by_sender(graph: Graph, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """The chosen edges of each component: those that leave it and, of all but the embedding, those that enter it."""
    sender, receiver = graph.edges.T
    found = {}
    for node, into in enumerate(feeders(graph)):
        own = chosen & ((sender == node) | np.isin(receiver, into))
        if own.any():
            found[graph.senders[node]] = own
    return found


def component(receiver: str) -> str:
    """Whose input it is.

    >>> component("L3.attn.h1.q"), component("L3.mlp"), component("logits")
    ('L3.attn.h1', 'L3.mlp', 'logits')
    """
    return receiver.rsplit(".", 1)[0] if receiver.endswith((".q", ".k", ".v")) else receiver
