"""Tracr programs compiled to weights for the test suite: `make tracr`, in an environment of its own with jax.

Tracr (Lindner et al. 2301.05062) compiles RASP programs into transformers whose circuit is known. Each program becomes
tests/data/tracr/NAME.npz (weights, as Tracr names them) and NAME.json (vocabulary, shape, which heads, MLPs and neurons
the compiled program uses, and what it answers on random inputs). tests/tracr/model.py opens them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from tracr.compiler import compiling, lib
from tracr.rasp import rasp

HERE = Path(__file__).parents[1] / "tests" / "data" / "tracr"
BOS, EXAMPLES = "bos", 40
LETTERS, DIGITS = {"a", "b", "c"}, {1, 2, 3, 4}


def majority() -> rasp.SOp:
    """Which of a and b is more frequent; a where they are equal."""
    a, b = lib.make_count(rasp.tokens, "a"), lib.make_count(rasp.tokens, "b")
    return rasp.SequenceMap(lambda x, y: "a" if x >= y else "b", a, b).named("majority")


PROGRAMS = {  # RASP program, inputs, longest input, causal
    "reverse": (lib.make_reverse(rasp.tokens), LETTERS, 5, False),
    "sort": (lib.make_sort(rasp.tokens, rasp.tokens, max_seq_len=4, min_key=1), DIGITS, 4, False),
    "histogram": (lib.make_hist(), LETTERS, 5, False),
    "majority": (majority(), {"a", "b"}, 5, False),
    "fraction": (lib.make_frac_prevs((rasp.tokens == "a").named("is_a")), LETTERS, 5, True),
    "balance": (lib.make_pair_balance(rasp.tokens, "(", ")"), {"(", ")", "x"}, 5, True),
}


def write(name: str) -> None:
    program, inputs, longest, causal = PROGRAMS[name]
    model = compiling.compile_rasp_to_model(program, inputs, longest, causal=causal, compiler_bos=BOS)
    weights = {f"{k}/{n}": np.asarray(w, np.float32) for k, v in model.params.items() for n, w in v.items()}
    np.savez_compressed(HERE / f"{name}.npz", **weights)
    config = model.model_config
    facts = {
        "inputs": [str(value) for value in model.input_encoder.encoding_map],  # in the order of the embedding
        "outputs": outputs(model, program),
        "layers": config.num_layers,
        "heads": config.num_heads,
        "causal": causal,
        "longest": longest,
        "used": [used(weights, layer, config.num_heads) for layer in range(config.num_layers)],
        "examples": examples(model, name),
    }
    (HERE / f"{name}.json").write_text(json.dumps(facts) + "\n")
    print(f"{name}: {config.num_layers} layers, width {len(model.residual_labels)}, used {facts['used']}"[:200])


def outputs(model, program: rasp.SOp) -> dict[str, int]:
    """Output value -> its direction of the residual stream; a numerical output has one, named `value`."""
    directions = {label: i for i, label in enumerate(model.residual_labels)}
    if rasp.is_numerical(program):
        return {"value": directions[program.label]}
    return {str(v): directions[f"{program.label}:{v}"] for v in model.output_encoder.encoding_map}


def used(weights: dict[str, np.ndarray], layer: int, heads: int) -> dict:
    """What of a layer writes anything: heads, whether the MLP does, and its neurons."""
    at = f"transformer/layer_{layer}"
    attention = weights[f"{at}/attn/linear/w"]
    attention = attention.reshape(heads, -1, attention.shape[-1])
    into, bias, out = (weights[f"{at}/mlp/linear_{k}"] for k in ("1/w", "1/b", "2/w"))
    neurons = np.flatnonzero((into.any(0) | (bias != 0)) & out.any(1)).tolist()
    return {"heads": np.flatnonzero(attention.any((1, 2))).tolist(), "mlp": bool(neurons), "neurons": neurons}


def examples(model, name: str) -> list[dict]:
    """Random inputs with the compiled model's own answer at every position after beginning-of-text."""
    rng = random.Random(name)
    _, inputs, longest, _ = PROGRAMS[name]
    found = []
    for i in range(EXAMPLES):
        tokens = [rng.choice(sorted(inputs)) for _ in range(longest if i % 2 else rng.randint(2, longest))]
        answers = model.apply([BOS, *tokens]).decoded[1:]
        found.append(
            {"input": [str(t) for t in tokens], "output": [a if isinstance(a, float) else str(a) for a in answers]}
        )
    return found


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        write(program)
