"""A circuit as a file: JSON that can be loaded again, and GraphML for other programs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec

from lashley.core.errors import BadCircuit
from lashley.experiments.circuit.subgraphs import component

SCHEMA = 1
NUMBERS = {"effect": "double", "low": "double", "high": "double", "stability": "double", "minimality": "double"}


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """One edge: what patching it alone costs (share of the logit difference, with its interval), in which share of
    resampled prompts it is in the circuit, and what its loss costs the circuit."""

    source: str
    target: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    stability: float | None = None
    minimality: float | None = None

    @property
    def name(self) -> str:
        return f"{self.source}->{self.target}"


class Circuit(msgspec.Struct, frozen=True):
    """Edges with where they come from; `faithfulness` is a share with its interval, or None."""

    model: str
    question: str
    method: str
    edges: tuple[Edge, ...]
    faithfulness: tuple[float | None, float | None, float | None] = (None, None, None)
    reported: bool = False  # whether it passed the test of a circuit's existence
    operations: dict[str, tuple[str, ...]] = {}  # of components
    schema: int = SCHEMA


def to_json(circuit: Circuit) -> bytes:
    return msgspec.json.format(msgspec.json.encode(circuit), indent=2) + b"\n"


def read(path: str | Path) -> Circuit:
    """The circuit in a JSON file. Raises `BadCircuit`."""
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=Circuit)
    except OSError as e:
        raise BadCircuit(f"{path} cannot be read ({e.strerror}); give a file that `lashley export` wrote") from e
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise BadCircuit(
            f"{path} holds no circuit ({e}); write one with `lashley export STUDY --format circuit`"
        ) from e
    if found.schema > SCHEMA:
        raise BadCircuit(f"{path} has schema {found.schema}, this lashley reads {SCHEMA}; update lashley")
    if not found.edges:
        raise BadCircuit(f"{path} holds a circuit without edges; nothing can be asked of it")
    return found


def named(words: tuple[str, ...]) -> tuple[str, ...]:
    """Names of edges as they are; of a file, those in it. Raises `BadCircuit`."""
    if len(words) == 1 and "->" not in words[0]:
        return tuple(edge.name for edge in read(words[0]).edges)
    return words


def graphml(circuit: Circuit) -> bytes:
    """The circuit as GraphML: components are nodes, with their layer, kind and operations; edges carry the input that
    they enter by (q, k, v), and their numbers where measured."""
    root = ET.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    keys = {("node", "layer"): "int", ("node", "kind"): "string", ("node", "operations"): "string"}
    keys |= {("edge", "input"): "string"} | {("edge", name): kind for name, kind in NUMBERS.items()}
    for (of, name), kind in keys.items():
        ET.SubElement(root, "key", {"id": f"{of}-{name}", "for": of, "attr.name": name, "attr.type": kind})
    graph = ET.SubElement(root, "graph", id="circuit", edgedefault="directed")
    ends = ((edge.source, component(edge.target)) for edge in circuit.edges)
    for node in dict.fromkeys(name for pair in ends for name in pair):
        kind = "head" if ".attn." in node else "neuron" if ".mlp." in node else "mlp" if ".mlp" in node else node
        layer = node[1:].split(".")[0] if node.startswith("L") else None
        operations = ", ".join(circuit.operations.get(node, ()))
        _data(ET.SubElement(graph, "node", id=node), "node", layer=layer, kind=kind, operations=operations or None)
    for edge in circuit.edges:
        own, into = component(edge.target), None
        if own != edge.target:
            into = edge.target.removeprefix(f"{own}.")
        element = ET.SubElement(graph, "edge", id=edge.name, source=edge.source, target=own)
        _data(element, "edge", input=into, **{name: getattr(edge, name) for name in NUMBERS})
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _data(element: ET.Element, of: str, **values: str | float | None) -> None:
    for name, value in values.items():
        if value is not None:
            ET.SubElement(element, "data", key=f"{of}-{name}").text = str(value)
