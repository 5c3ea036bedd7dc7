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
    "stability of one fact": ("stability", FRANCE | {"templates": 7, "contexts": 1}),
    "stability of heads of facts": (
        "stability",
        {"relation": "capital", "max_facts": 6, "templates": 2, "contexts": 1, "units": "heads", "draws": 1,
         "edit": "resample"},
    ),
    "stability under noise": (
        "stability", FRANCE | {"templates": 4, "contexts": 0, "draws": 3, "corruption": "noise", "edit": "zero"},
    ),
    "spread over sub-layers": ("spread", FRANCE | {"units": "layers", "beside": 1}),
    "spread over heads, replaced": (
        "spread", FRANCE | {"units": "heads", "beside": 0, "corruption": "replace", "draws": 2, "register": "question"},
    ),
    "spread over neurons": (
        "spread", FRANCE | {"screen": 48, "sample": 24, "beside": 1, "budget": 60, "register": "statement"},
    ),
    "spread of a relation": (
        "spread", {"relation": "capital", "max_facts": 4, "units": "layers", "edit": "resample", "register": "list"},
    ),
    "spread over weights": ("spread", FRANCE | LIST | {"units": "weights", "beside": 1}),
    "circuit of a task": (
        "circuit", {"task": "agreement", "max_facts": 12, "operations": False, "rivals": 19, "exact": 12},
    ),
    "circuit with operations": ("circuit", FRANCE | {"rivals": 19, "exact": 40, "register": "statement"}),
    "circuit of a relation": (
        "circuit",
        {"relation": "capital", "max_facts": 6, "rivals": 19, "exact": 30, "operations": False, "method": "eap"} | LIST,
    ),
    "audit of a neuron": ("audit", {"claims": ("L2.mlp.n173 stores capital(France)",), "controls": 20, "others": 6}),
    "audit of four claims": (
        "audit",
        {
            "claims": (
                "L0.mlp@subject_last is sufficient for capital(France)", "L2.mlp contributes to capital(France)",
                "L2.attn.h1 is necessary for capital(France) [alpha = 0.1]", "L1.mlp stores capital(France)=Oslo",
            ),
            "controls": 20, "others": 6,
        },
    ),
    "audit of a prompt of one's own, replaced": (
        "audit",
        {
            "claims": (
                'L0.mlp is necessary for "The capital of {France} is" = Paris against {Japan} = Tokyo',
                'L1.mlp.n5+L2.mlp.n7 contributes to "The capital of {France} is" = Paris against {Japan} = Tokyo',
            ),
            "controls": 19, "others": 2, "corruption": "replace",
        },
    ),
    "audit of the strongest": (
        "audit", {"claims": (), "strongest": 2, "of": "capital(France)", "controls": 20, "others": 4},
    ),
    "knockout, cut off": ("knockout", FRANCE | {"units": "heads", "stop": 0.6}),
    "audit, cut off": (
        "audit", {"claims": ("L0.mlp@subject_last stores capital(France)",), "controls": 20, "others": 2, "stop": 0.5},
    ),
}  # fmt: skip
