"""Which component hands what to which: the graph of a model's edges, and compact tables of edge sets.

Senders     embed, L3.attn.h1, L3.mlp, and MLP neurons that are drawn out: L3.mlp.n5 (L3.mlp is then the rest)
Receivers   L3.attn.h1.q, L3.attn.h1.k, L3.attn.h1.v, L3.mlp, logits
Edges       L3.attn.h1->L7.attn.h2.q

A sender contributes what it adds to the residual stream (after a post-norm, with that norm's scale of the same pass);
a receiver reads the residual stream before its own input norm. Keys and values have a receiver for each query head,
also where several of them share one (TransformerLens' `ungroup_grouped_query_attention`). A drawn-out neuron only
sends: what enters it is what enters its MLP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, cast

import msgspec
import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadSite
from lashley.core.site import Site

INPUTS = ("q", "k", "v")


class Graph(msgspec.Struct, frozen=True):
    """All edges between the components of a model, in a fixed order: by receiver, then by sender.

    Senders stand in the order in which they are computed, so that every receiver hears the first few of them. In
    `parallel` models the attention and the MLP of a layer read the same stream, and neither hears the other.

    >>> graph = Graph(layers=2, heads=1)
    >>> len(graph), graph.name(0), graph.index("L0.mlp->logits")
    (23, 'embed->L0.attn.h0.q', 20)
    """

    layers: int
    heads: int
    parallel: bool = False
    neurons: tuple[str, ...] = ()  # drawn-out MLP neurons by layer and number, as "L3.mlp.n5"

    @classmethod
    def of(cls, anatomy: Anatomy, neurons: Iterable[str] = ()) -> Graph:
        """The graph of a model, with these MLP neurons drawn out. Raises `BadSite`."""
        drawn = sorted({_neuron(anatomy, text) for text in neurons})
        return cls(anatomy.layers, anatomy.heads, anatomy.parallel, tuple(map(str, drawn)))

    @property
    def senders(self) -> tuple[str, ...]:
        return _layout(self).senders

    @property
    def receivers(self) -> tuple[str, ...]:
        return _layout(self).receivers

    @property
    def reach(self) -> np.ndarray:
        """How many senders each receiver hears: the first so many; int [receivers]."""
        return _layout(self).reach

    @property
    def edges(self) -> np.ndarray:
        """Numbers of sender and receiver of every edge, int [edges, 2]."""
        return _layout(self).edges

    def __len__(self) -> int:
        return len(self.edges)

    def name(self, edge: int) -> str:
        """The edge's text."""
        sender, receiver = self.edges[edge]
        return f"{self.senders[sender]}->{self.receivers[receiver]}"

    def index(self, name: str) -> int:
        """The edge of this text. Raises `BadSite`."""
        sender, arrow, receiver = (part.strip() for part in name.partition("->"))
        layout = _layout(self)
        if not arrow or sender not in layout.sender or receiver not in layout.receiver:
            raise BadSite(
                f"edge {name!r}: the model has no such edge; write embed, L3.attn.h1 or L3.mlp, then ->, "
                "then L7.attn.h2.q (or .k, .v), L7.mlp or logits"
            )
        u, v = layout.sender[sender], layout.receiver[receiver]
        if u >= layout.reach[v]:
            raise BadSite(f"edge {name!r}: {receiver} is computed before it could hear {sender}; turn the edge round")
        return int(layout.starts[v]) + u

    def dense(self, values: np.ndarray) -> np.ndarray:
        """[.., edges] laid out as [.., receivers, senders], with zeros where there is no edge."""
        out = np.zeros((*values.shape[:-1], len(self.receivers), len(self.senders)), values.dtype)
        sender, receiver = self.edges.T
        out[..., receiver, sender] = values
        return out


class _Layout(NamedTuple):
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    reach: np.ndarray
    edges: np.ndarray
    starts: np.ndarray
    sender: dict[str, int]
    receiver: dict[str, int]


@lru_cache(maxsize=64)
def _layout(graph: Graph) -> _Layout:
    drawn: dict[int, list[str]] = {}
    for text in graph.neurons:
        drawn.setdefault(Site.parse(text).layer, []).append(text)
    senders, receivers = ["embed"], list[str]()
    reach: list[int] = []
    for la in range(graph.layers):
        heads = [f"L{la}.attn.h{h}" for h in range(graph.heads)]
        receivers += [f"{head}.{x}" for x in INPUTS for head in heads]
        reach += [len(senders)] * (3 * graph.heads)
        reach.append(len(senders) + (0 if graph.parallel else graph.heads))
        receivers.append(f"L{la}.mlp")
        senders += [*heads, f"L{la}.mlp", *drawn.get(la, ())]
    receivers.append("logits")
    reach.append(len(senders))
    heard = np.array(reach)
    edges = np.stack([np.concatenate([np.arange(n) for n in reach]), np.repeat(np.arange(len(reach)), heard)], 1)
    for array in (heard, edges):
        array.flags.writeable = False
    numbers = [{name: i for i, name in enumerate(names)} for names in (senders, receivers)]
    return _Layout(tuple(senders), tuple(receivers), heard, edges, np.cumsum(heard) - heard, *numbers)


def _neuron(anatomy: Anatomy, text: str) -> Site:
    site = Site.parse(text)
    if site.kind != "neuron" or site.position is not None:
        raise BadSite(f"{text!r} is no MLP neuron at all positions; write L3.mlp.n5")
    return anatomy.check(site)


class Edges(msgspec.Struct, frozen=True):
    """A table of edge sets, one a trial: the edges that are patched, that is, take the corrupt run's contribution.

    >>> graph = Graph(layers=2, heads=1)
    >>> Edges.of(graph, [[], [0, 22]]).table.sum(1)
    array([0, 2])
    """

    graph: Graph
    bits: bytes  # np.packbits of bool [trials, edges] along axis 1

    @classmethod
    def of(cls, graph: Graph, sets: Iterable[Iterable[int] | np.ndarray]) -> Edges:
        """From sets of edge numbers, or of bool [edges]. Raises `BadSite` for edges that the graph has not."""
        return cls(graph, b"".join(np.packbits(_row(graph, edges)).tobytes() for edges in sets))

    @classmethod
    def each(cls, graph: Graph) -> Edges:
        """Every edge alone: what a screen is asked."""
        return cls.of(graph, ([edge] for edge in range(len(graph))))

    @property
    def table(self) -> np.ndarray:
        """bool [trials, edges]."""
        return np.unpackbits(self._packed, axis=1, count=len(self.graph)).view(bool)

    @property
    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """The trial and the edge of each edge of each set, in order, int64: `np.nonzero(table)`, without the table."""
        trial, byte = np.divmod(np.flatnonzero(np.frombuffer(self.bits, np.uint8) != 0), self._width)
        held, bit = np.nonzero(np.unpackbits(self._packed[trial, byte][:, None], axis=1))
        return trial[held], 8 * byte[held] + bit

    @property
    def sizes(self) -> np.ndarray:
        """How many edges each set has, int64 [trials]."""
        ones = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1)
        return ones[self._packed].sum(1, dtype=np.int64)

    @property
    def _packed(self) -> np.ndarray:
        return np.frombuffer(self.bits, np.uint8).reshape(len(self), self._width)

    @property
    def _width(self) -> int:
        """Bytes of one set."""
        return -(-len(self.graph) // 8)

    def only(self, trial: int) -> Edges:
        """The table of one trial."""
        return Edges(self.graph, self.bits[trial * self._width : (trial + 1) * self._width])

    def __len__(self) -> int:
        return len(self.bits) // self._width

    def __getitem__(self, trial: int) -> np.ndarray:
        """The edges of one set, int64 [edges]."""
        if not 0 <= trial < len(self):
            raise IndexError(f"trial {trial} of {len(self)}")
        return np.flatnonzero(self.only(trial).table[0])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))


def _row(graph: Graph, edges: Iterable[int] | np.ndarray) -> np.ndarray:
    chosen = cast("np.ndarray", edges) if isinstance(edges, np.ndarray) else np.fromiter(edges, np.int64)
    if chosen.dtype == bool:
        if chosen.shape != (len(graph),):
            raise BadSite(f"a set of {chosen.shape} marks for {len(graph):,} edges; give one mark an edge")
        return chosen
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(graph)):
        raise BadSite(f"edges {chosen.min()} to {chosen.max()} of a graph of {len(graph):,}; they are numbered from 0")
    row = np.zeros(len(graph), bool)
    row[chosen] = True
    return row
