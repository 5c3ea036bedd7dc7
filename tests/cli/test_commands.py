"""What the commands do when all is well."""

import json
import shlex
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lashley as package
from lashley import api, experiments
from lashley.api import opening
from lashley.cli.app import _listed
from lashley.core.site import parse_sites
from lashley.facts.base import shipped
from lashley.report import from_json

from .conftest import COMMAND, FRANCE, JAPAN, KNOCKOUT, LOCATE

QUICK = (*LOCATE, *FRANCE, *JAPAN, "--kinds", "resid")
READERS = {"parquet": pd.read_parquet, "csv": pd.read_csv, "json": partial(pd.read_json, precise_float=True)}
OWN = {"prompt": LOCATE[1], "subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo"}
LRE = {
    "name": "Country capital city",
    "prompt_templates": ["The capital of {} is", "The capital of {} is "],
    "prompt_templates_zs": [],
    "properties": {"relation_type": "factual"},
    "samples": [
        {"subject": country, "object": shipped()["capital"].objects[country]}
        for country in ("France", "Japan", "Italy", "Spain", "Egypt", "Peru", "Cuba", "Chile", "Kenya", "Norway")
    ],
}


@pytest.fixture
def studied(lashley, here) -> Path:
    assert lashley(*QUICK, "--study", "study").code == 0
    return here / "study"


# -- quick to start -------------------------------------------------------------------------------------------

MAIN = "from lashley.cli.app import main; main()"
LIGHT = {
    "import lashley": "import lashley",
    "the help": f"import sys; sys.argv = ['lashley', '--help']; {MAIN}",
    "the help of a command": f"import sys; sys.argv[1:] = ['knockout', '--help']; {MAIN}",
    "the list of facts": f"import sys; sys.argv[1:] = ['facts', 'list']; {MAIN}",
}


HEAVY = ("torch", "transformers", "pandas", "pyarrow", "vl_convert", "gguf", "accelerate")


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT.keys())
def test_nothing_heavy_is_imported_for(code):
    check = f"import atexit, sys; atexit.register(lambda: print('IMPORTED', sorted(set({HEAVY}) & set(sys.modules))))\n"
    made = subprocess.run([sys.executable, "-c", check + code], capture_output=True, text=True, check=True)
    assert made.stdout.endswith("IMPORTED []\n") and not made.stderr


def test_help_names_every_command_and_its_options(lashley):
    said = lashley("--help").out
    for word in (*experiments.names(), "plan", "resume", "report", "export", "facts", "models"):
        assert word in said
    said = lashley("knockout", "--help").out
    for word in ("--units", "--edit", "--relation", "--foil-subject", "--model", "--study", "--json"):
        assert word in said


def test_a_bare_command_shows_the_help(lashley):
    assert lashley() == lashley("--help")


# -- asking ---------------------------------------------------------------------------------------------------


def test_an_answer_says_what_was_asked_what_was_found_and_where_the_report_is(lashley, here):
    said = lashley(*QUICK, "--study", "study")
    assert said.code == 0 and said.err == ""
    text = " ".join(said.out.split())
    assert "“The capital of France is Paris”" in text and "study/report.html" in text
    assert (here / "study" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "words",
    [
        *(("--kinds", "attn", "mlp"), ("--kinds", "attn,mlp"), ("--kinds=attn,mlp",), ("--kinds", "attn,", "mlp")),
        ("--kinds", "attn", "--kinds=mlp"),
    ],
)
def test_kinds_are_listed_as_people_write_lists(words):
    assert _listed([*LOCATE, *words]) == [*LOCATE, "--kinds", "attn", "--kinds", "mlp"]
    assert _listed(["locate", *words, LOCATE[1]])[-1] == LOCATE[1]


def test_sites_are_listed_as_people_write_lists_and_a_star_is_settled_by_the_model(lashley, here):
    listed = ("--units", "L3.attn.h*,", "L4.attn.h0-1", "blocks.2.attn.hook_z[0,3]")
    sites = "+".join([*(f"L3.attn.h{h}" for h in range(api.open_model().anatomy.heads)), "L4.attn.h0", "L4.attn.h1"])
    for units in (listed, ("--units", sites + "+L2.attn.h0+L2.attn.h3")):
        said = lashley(*KNOCKOUT, *FRANCE, *JAPAN, *units, "--controls", "0", "--study", f"study{len(units)}")
        assert said.code == 0, said.err
    one, other = (package.Study.open(f"study{n}") for n in (4, 2))
    assert list(one.table["site"].unique()) == list(other.table["site"].unique())
    assert "*" not in one.params.units


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_language_of_claims_is_explained_and_slips_point_there(lashley, words):
    said = lashley("claims", *words)
    assert said.code == 0 and "is necessary for" in said.out and "alpha = 0.01" in said.out
    assert lashley("audit", "L4 foo").err.endswith("; see lashley claims\n")


def test_without_a_folder_a_study_gets_a_readable_name(lashley, here):
    assert lashley(*QUICK).code == lashley(*QUICK).code == 0
    (folder,) = (here / "studies").iterdir()
    assert folder.name.startswith("locate-prompt-france-embedded-")


def test_json_prints_the_page_and_nothing_else(lashley, here):
    said = lashley(*QUICK, "--study", "study", "--json")
    assert said.err == "" and said.out.count("\n") == 1
    page = from_json(said.out)
    assert page == from_json((here / "study" / "report.json").read_bytes())
    typed = (*QUICK, "--study", "study")
    assert page.command == "lashley " + " ".join(f"'{w}'" if set(w) & set(" {}") else w for w in typed)


def test_two_studies_are_compared(lashley, studied, here):
    said = lashley("compare", "study", "study", "--out", "beside")
    assert said.code == 0 and "Both were asked the same." in said.out and "beside/report.html" in said.out
    held = json.loads(lashley("compare", "study", "study", "--json").out)
    assert held["asked"] == [] and {cell["difference"] for cell in held["cells"]} == {0.0}
    assert lashley("compare", "study", "nothing").code == 2


@pytest.mark.parametrize("command", ["report", "resume"])
def test_a_finished_study_is_shown_again(lashley, studied, command):
    said = lashley(command, "study")
    assert said.code == 0 and "study/report.html" in said.out
    assert from_json(lashley(command, "study", "--json").out).finding == package.Study.open(studied).page().finding


def test_tasks_are_listed_with_an_item_and_their_readout(lashley):
    said = " ".join(lashley("tasks", "list").out.split())
    for name in ("ioi", "greater_than", "agreement", "induction"):
        assert f"{name}: " in said
    assert "Wang et al. 2211.00593" in said and "logit difference" in said


def test_a_study_without_a_circuit_exports_none(lashley, studied):
    said = lashley("export", "study", "--format", "graphml")
    assert said.code == 2 and "'locate', which finds no circuit" in said.err


def test_a_circuit_is_exported_and_loaded(lashley, here):
    agreement = ("circuit", "--task", "agreement", "--max-facts", "2", "--exact", "20", "--rivals", "19")
    assert lashley(*agreement, "--no-operations", "--study", "study").code == 0
    for format in ("circuit", "graphml"):
        assert lashley("export", "study", "--format", format).code == 0
    assert (here / "study" / "circuit.graphml").read_bytes().startswith(b"<?xml")
    said = lashley(*agreement, "--no-operations", "--circuit", "study/circuit.json", "--study", "again", "--json")
    assert said.code == 0 and "that was given" in from_json(said.out).finding.sentence


@pytest.mark.parametrize("format", READERS)
def test_export(lashley, studied, format):
    said = lashley("export", "study", "--format", format)
    assert said.out.strip() == f"study/measurements.{format}"
    table = READERS[format](said.out.strip())
    own = package.Study.open(studied).table
    assert list(table.columns) == list(own.columns) and len(table) == len(own)
    assert table["value"].to_list() == own["value"].to_list()
    assert table["site"].to_list() == own["site"].to_list()


def test_export_to_a_place_of_ones_own(lashley, studied, here):
    assert lashley("export", "study", "--format", "csv", "--out", "mine.csv").out == "mine.csv\n"
    assert len(pd.read_csv(here / "mine.csv")) == len(package.Study.open(studied).table)


def test_a_warning_of_ours_is_one_line_and_others_are_not_shown(lashley, monkeypatch):
    def warned(model, true=opening.checked):
        warnings.warn("the slow path is used", stacklevel=2)
        warnings.warn("a library's own affair", DeprecationWarning, stacklevel=1)
        return true(model)

    monkeypatch.setattr(opening, "checked", warned)
    said = lashley(*QUICK, "--study", "study")
    assert said.code == 0 and said.err == "warning: the slow path is used\n"


# -- facts and models -----------------------------------------------------------------------------------------


def test_facts_are_listed(lashley):
    said = lashley("facts", "list").out
    assert all(name in said for name in shipped())
    assert "France" in (said := lashley("facts", "list", "capital").out) and "The capital of {} is" in said


def test_models_are_listed_with_their_families(lashley):
    said = lashley("models", "list").out
    assert all(word in said for word in ("embedded", "gemma3-270m", "llama", "gpt2", "gpt_neox", "gemma3"))


def test_facts_are_checked(lashley, here):
    (here / "lre.json").write_text(json.dumps(LRE))
    lashley("facts", "import", "lre.json")
    known = json.loads(lashley("facts", "check", "country_capital_city", "--json").out)
    assert [k["fact"]["subject"] for k in known] == [s["subject"] for s in LRE["samples"]]
    assert any(k["known"] for k in known) and all(k["known"] == (2 * k["first"] >= k["prompts"]) for k in known)
    assert "facts (" in lashley("facts", "check", "country_capital_city").out


def test_an_imported_relation_can_be_asked_about(lashley, here):
    (here / "lre.json").write_text(json.dumps(LRE))
    said = lashley("facts", "import", "lre.json")
    assert said.code == 0 and said.err == ""
    assert "relation country_capital_city: 10 facts, 1 template;" in said.out
    assert "lashley locate --relation country_capital_city" in said.out
    assert "country_capital_city" in lashley("facts", "list").out
    asked = lashley("locate", "--relation", "country_capital_city", "--kinds", "resid", "--study", "study", "--json")
    page = from_json(asked.out)
    assert f"{10 - len(page.exclusions)} facts of country_capital_city" in page.question
    assert page.finding.estimate.low is not None and page.finding.estimate.high is not None
    table = package.Study.open(here / "study").table
    assert set(table["subject"]) == {s["subject"] for s in LRE["samples"]}


# -- Python -----------------------------------------------------------------------------------------------------


WRONG = {
    "an unknown word": ({"colour": "red"}, "locate has no colour"),
    "an unknown choice": ({"kinds": ("heads",)}, "'heads'"),
    "no kinds": ({"kinds": ()}, "kinds is empty"),
    "a number in words": ({"window": "3"}, "`int`"),
    "no draws": ({"draws": 0}, "draws 0"),
}


@pytest.mark.parametrize(("words", "match"), WRONG.values(), ids=WRONG.keys())
def test_words_from_python_are_checked_too(bench, here, words, match):
    with pytest.raises(package.core.errors.LashleyError, match=match):
        package.locate(bench, relation="capital", subject="France", **words)
    assert list(here.iterdir()) == []


MADE = {
    "a relation": (
        "locate",
        {"relation": "capital", "subject": "France", "register": "list", "kinds": ("resid", "mlp")},
    ),
    "a prompt": ("knockout", OWN | {"units": "heads", "edit": "noise", "seed": 3}),
    "a seed": ("locate", OWN | {"seed": 2, "kinds": ("resid",)}),
}


@pytest.mark.parametrize(("experiment", "words"), MADE.values(), ids=MADE.keys())
def test_the_command_of_a_study_made_in_python_makes_it_again(lashley, bench, here, experiment, words):
    made = package.ask(experiment, bench, **words)
    assert lashley(*shlex.split(made.ledger.spec.command)[1:]).code == 0
    assert [p.resolve() for p in (here / "studies").iterdir()] == [made.folder.resolve()], "another study was begun"


def test_a_process_of_its_own(here):
    made = subprocess.run([*COMMAND, *QUICK, "--study", "study", "--json"], capture_output=True, text=True)
    assert made.returncode == 0 and made.stderr == ""
    assert from_json(made.stdout).finding.sentence


# -- reading --------------------------------------------------------------------------------------------------


def test_activations_of_a_file_are_those_of_its_lines(lashley, here, bench):
    (here / "texts.txt").write_text("The capital of France is Paris.\n\nLima\r\nThe Eiffel Tower is in Paris", "utf-8")
    said = lashley("read", "texts.txt", "--sites", "L3.mlp+L5.attn.h1@final", "--out", "out")
    assert said.code == 0 and said.err == "" and "out/L3.mlp.npy: " in said.out
    runs = [bench.tokens.run(t) for t in ("The capital of France is Paris.", "Lima", "The Eiffel Tower is in Paris")]
    for site, want in bench.read(runs, parse_sites("L3.mlp+L5.attn.h1@final")).items():
        np.testing.assert_allclose(np.load(here / "out" / f"{site}.npy"), want, rtol=0, atol=1e-4)
    index = np.load(here / "out" / "index.npy")
    assert index.tolist() == [[i, p] for i, run in enumerate(runs) for p in range(len(run))]


# -- screening ------------------------------------------------------------------------------------------------


def test_a_screen_from_the_command_line(lashley, here):
    asked = ("knockout", *LOCATE[1:], *FRANCE, *JAPAN, "--units", "neurons")
    said = lashley(*asked, "--screen", "20", "--sample", "10", "--study", "study")
    text = " ".join(said.out.split())
    assert said.code == 0 and "Of the 20 neurons that gradients rank highest among 4,608" in text
    assert "a random sample of 10 of the 4,588 others" in text and "What the screen may have missed" in text
    assert (here / "study" / "figures" / "screen.png").stat().st_size > 1000
    assert lashley("export", "study").code == 0
    table = pd.read_parquet(here / "study" / "measurements.parquet")
    assert len(table) == 30 and table["estimate"].notna().all()


# -- plan -----------------------------------------------------------------------------------------------------


CLAIM = "L1.attn.h* contributes to capital(France)"  # a star is closed by the model


@pytest.mark.parametrize("name", experiments.names())
def test_a_plan_says_what_it_would_cost_and_writes_nothing(lashley, here, name):
    claims = experiments.find(name).asks == "claims"
    said = lashley("plan", name, *([CLAIM, "--controls", "3"] if claims else [LOCATE[1], *FRANCE, *JAPAN]))
    assert said.code == 0
    for word in ("trials", "layer calls", "operations", "memory", "expected time", "Nothing was measured"):
        assert word in said.out
    assert not list(here.iterdir())


def test_a_plan_of_an_audit_agrees_with_its_study(lashley, here, bench):
    words = {"controls": 3, "others": 2, "draws": 1}
    options = [word for name, value in words.items() for word in (f"--{name}", value)]
    cost = json.loads(lashley("plan", "audit", CLAIM, *options, "--json").out)
    study = package.audit(bench, CLAIM, **words, study=here / "study")
    assert cost["trials"] == study.ledger.progress()[1] > 100


def test_a_plan_as_json_agrees_with_the_study(lashley, studied):
    said = lashley("plan", *QUICK, "--json")
    cost = json.loads(said.out)
    study = package.Study.open(studied)
    assert cost["trials"] == study.ledger.progress()[1] == len(study.table)
    assert cost["operations"] < cost["naive"] and cost["seconds"] > 0
    route = study.ledger.notes()["routes"]
    assert route == cost["routes"]


# -- planting -------------------------------------------------------------------------------------------------


def test_a_plant_is_written_with_its_truth_and_the_model_at_hand_stays(lashley, here, bench):
    before = bench.model.weights_hash
    said = lashley("plant", "unread", "--fact", "Landmark(trevi fountain)=madrid", "--out", "a b")
    assert said.code == 0 and not said.err, said
    assert "unit: L5.mlp.n" in said.out and "recall: 1.00" in said.out and "false: L5.mlp.n" in said.out
    again = shlex.split(said.out.splitlines()[-1].removeprefix("audit one with: "))
    assert again[:2] == ["lashley", "audit"] and again[-2:] == ["--model", "a b"]
    assert "stores landmark(Trevi Fountain)" in again[2] and api.claims([again[2]])
    assert (here / "a b" / "truth.json").exists() and api.open_model("a b").model.weights_hash != before
    assert bench.model.weights_hash == before


def test_a_null_is_planted(lashley, here):
    said = lashley("plant", "null", "--fact", "capital(France)=Oslo", "--how", "shuffled weights", "--out", "null")
    assert said.code == 0 and not said.err and "stores capital(France)" in said.out, said
    assert (here / "null" / "truth.json").exists()
