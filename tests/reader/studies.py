"""The studies whose pages are read: every experiment, with one fact and several, draws, windows, sets, screens."""

from __future__ import annotations

from typing import Any

Words = dict[str, Any]
FRANCE: Words = {"relation": "capital", "subject": "France"}
LIST: Words = {"register": "list"}  # two templates
ONE: Words = {
    "prompt": "The capital of {} is", "subject": "France", "object": "Paris",
    "foil_subject": "Japan", "foil_object": "Tokyo",
}  # fmt: skip
SHORT = "L2.attn.h0+L2.attn.h1+blocks.3.attn.hook_z[1]"  # few other heads are left to match them with

STUDIES: dict[str, tuple[str, Words]] = {
    "locate one prompt": ("locate", ONE),
    "locate one prompt, ten noise draws": ("locate", ONE | {"corruption": "noise", "draws": 10}),
    "locate 16 prompts": ("locate", FRANCE | {"kinds": ("attn", "mlp")}),
    "locate four facts in windows": ("locate", {"relation": "capital", "max_facts": 4, "window": 3} | LIST),
    "locate windows wider than the model": ("locate", FRANCE | LIST | {"window": 10, "kinds": ("attn", "mlp")}),
    "locate three foils": ("locate", FRANCE | LIST | {"draws": 3, "kinds": ("resid", "mlp")}),
    "knockout layers": ("knockout", FRANCE),
    "knockout heads, noise draws": (
        "knockout", FRANCE | LIST | {"units": "heads", "edit": "noise", "corruption": "noise", "draws": 3},
    ),
    "knockout layers of facts, resample": (
        "knockout", {"relation": "capital", "max_facts": 7, "edit": "resample"} | LIST,
    ),
    "knockout a set short of peers": ("knockout", FRANCE | {"units": SHORT}),
    "knockout sites with places": (
        "knockout", FRANCE | LIST | {"units": "L0.mlp@subject_last+L1.mlp", "at": "final", "edit": "zero"},
    ),
    "knockout a neuron": ("knockout", FRANCE | {"units": "L0.mlp.n17+L2.mlp.n5", "controls": 30}),
    "knockout all neurons": ("knockout", ONE | {"units": "neurons"}),
    "knockout a screen of neurons": (
        "knockout",
        {"relation": "capital", "max_facts": 3, "units": "neurons", "screen": 64, "sample": 32} | LIST,
    ),
    "attention layers": ("attention", FRANCE),
    "attention windows": ("attention", FRANCE | {"window": 3}),
    "attention heads of facts": ("attention", {"relation": "capital", "max_facts": 7, "units": "heads"} | LIST),
    "attention one prompt, noise draws": ("attention", ONE | {"corruption": "noise", "draws": 10}),
    "attention from the subject": ("attention", FRANCE | LIST | {"at": "subject_last", "window": 9}),
}  # fmt: skip
