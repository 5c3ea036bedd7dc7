"""The model card: figures, seed, hashes and versions, as `card.json` and as `MODEL_CARD.md`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def weights_hash(folder: Path) -> str:
    """SHA-256 of `model.safetensors`."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"


def _table(rows: dict[str, dict[str, float]]) -> str:
    columns = ("prompts_trained", "prompts_held_out", "facts_trained", "facts_held_out")
    names = " | ".join(c.replace("_", ", ", 1).replace("_", " ") for c in columns)
    head = f"| | {names} |\n|{'---|' * 5}\n"
    return head + "".join(
        f"| {name} | {' | '.join(_percent(row.get(c)) for c in columns)} |\n" for name, row in rows.items()
    )


def write(folder: Path, card: dict) -> None:
    """Write `card.json` and `MODEL_CARD.md` into `folder`; adds the hash of the weights to `card`."""
    card["weights_sha256"] = weights_hash(folder)
    (folder / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    f = card["figures"]
    agreement = "".join(f"| {kind} | {_percent(share)} |\n" for kind, share in f["agreement"].items())
    rows = {
        "**all**": f,
        **{{"en": "English", "es": "Spanish"}[k]: v for k, v in f["languages"].items()},
        f"after other text ({f['after_context']['prompts']} prompts)": f["after_context"],
        **f["relations"],
    }
    of = card.get("relations", [])
    options = f" --family {card['family']} --relations {' '.join(of)}" if of else ""
    text = f"""# The embedded model

A decoder-only language model in the {card["family"]} layout ({card["parameters"]:,} parameters,
{card["layers"]} layers, width {card["width"]}, {card["heads"]} heads, {card["vocabulary"]:,} tokens) that this project
trained from random weights on {f["facts"]:,} facts and on ordinary grammar. It exists to be taken apart: it knows
these facts and nothing else.

Made by `python -m lashley.models.embedded.train --steps {card["steps"]} --seed {card["seed"]}{options}`
({card["minutes"]:.0f} minutes on two cores, torch {card["torch"]}, {card["date"]}).

- data: `{card["data_sha256"]}`
- weights: `{card["weights_sha256"]}` (stored as {card["dtype"]}; every figure below is measured on the
  stored weights, loaded as float32)

## What it was trained on

Each fact is stated in a random {_percent(card["trained_share"])} of its relation's templates (`is_trained`
in `corpus.py`); the other combinations of a fact and a template never occur in training, though the
template does with other subjects and the fact in other templates. One document in eight is grammar;
documents hold one sentence or several in a row, and rows of 64 or 256 tokens hold several documents. The
tokens of an answer (an object, a verb, a pronoun) weigh {card["answer_weight"]:g} times in the loss.

## What it knows

A prompt counts when its object ranks first among the distinct objects of the relation, in the language
of the template, by the sum of the log-probabilities of its tokens. A fact is known when that holds on
at least half of its templates. "Held out" are the combinations never trained on
({f["prompts"]["held_out"]:,} prompts; trained: {f["prompts"]["trained"]:,}).

{_table(rows)}
Minimal pairs whose combination of noun, verb and distractor was held out:

| kind | right |
|---|---|
{agreement}
## What it is not

A source of facts, a chat model or a model of the size and training that conclusions about large models
need. The facts were written down from memory (see the `source` of each relation) and may be wrong or
out of date. The only languages are English and, for the facts, Spanish.
"""
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")
