"""A circuit in a file comes back as it was; what is none is refused in one line."""

import xml.etree.ElementTree as ET

import pytest

from lashley.core.errors import BadCircuit
from lashley.experiments.circuit.files import Circuit, Edge, graphml, named, read, to_json

CIRCUIT = Circuit(
    model="embedded",
    question="capital(France) = Paris",
    method="EAP-IG",
    edges=(
        Edge("embed", "L0.attn.h1.v", 0.25, 0.2, 0.3, 1.0, 0.1),
        Edge("L0.attn.h1", "L1.mlp", -0.125),
        Edge("L1.mlp.n5", "logits", 0.5),
    ),
    faithfulness=(0.8, 0.7, 0.9),
    reported=True,
    operations={"L0.attn.h1": ("induction",)},
)


def test_json_comes_back_as_it_was(tmp_path):
    path = tmp_path / "circuit.json"
    path.write_bytes(to_json(CIRCUIT))
    assert read(path) == CIRCUIT
    assert named((str(path),)) == ("embed->L0.attn.h1.v", "L0.attn.h1->L1.mlp", "L1.mlp.n5->logits")


def test_names_are_taken_as_they_are():
    assert named(("embed->logits",)) == ("embed->logits",) and named(()) == ()


def test_graphml_joins_components_and_keeps_the_numbers():
    root = ET.fromstring(graphml(CIRCUIT))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    nodes = {n.get("id"): {d.get("key"): d.text for d in n} for n in root.iter(f"{space}node")}
    assert set(nodes) == {"embed", "L0.attn.h1", "L1.mlp", "L1.mlp.n5", "logits"}
    assert nodes["L0.attn.h1"] == {"node-layer": "0", "node-kind": "head", "node-operations": "induction"}
    assert nodes["L1.mlp.n5"]["node-kind"] == "neuron" and nodes["embed"] == {"node-kind": "embed"}
    edges = [(e.get("source"), e.get("target"), {d.get("key"): d.text for d in e}) for e in root.iter(f"{space}edge")]
    assert edges[0][:2] == ("embed", "L0.attn.h1") and edges[0][2]["edge-input"] == "v"
    assert [float(e[2]["edge-effect"]) for e in edges] == [0.25, -0.125, 0.5]
    declared = {k.get("id") for k in root.iter(f"{space}key")}
    assert {key for *_, data in edges for key in data} | {key for data in nodes.values() for key in data} <= declared


BAD = {
    "no file": (None, "No such file"),
    "no JSON": (b"\x00", "holds no circuit"),
    "another JSON": (b'{"edges": 3}', "holds no circuit"),
    "no edges": (to_json(Circuit("m", "q", "EAP", ())), "without edges"),
    "a newer schema": (to_json(Circuit("m", "q", "EAP", CIRCUIT.edges, schema=99)), "update lashley"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_no_circuit_is_refused(tmp_path, data, words):
    path = tmp_path / "circuit.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadCircuit, match=words):
        read(path)
