"""Whatever is typed: exit code 2, one line that says what to do, no traceback, and nothing half-written."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lashley.core.errors import BadPrompt
from lashley.core.fact import Template
from lashley.facts.base import shipped
from lashley.models.embedded import WEIGHTS
from lashley.study.ledger import Ledger, Spec

from .conftest import COMMAND, FRANCE, JAPAN, KNOCKOUT, LOCATE, Said

PROMPT = (*LOCATE, *FRANCE, *JAPAN)
HEAD = (*KNOCKOUT, *FRANCE, *JAPAN, "--units")
CAPITAL = ("locate", "--relation", "capital")
PLANT = ("--out", "planted", "--fact")
OSLO = (*PLANT, "capital(France)=Oslo")


def refused(said: Said, *words: str) -> None:
    assert said.code == 2, said
    assert said.err.startswith("lashley: ") and said.err.count("\n") == 1 and said.err.endswith("\n"), said.err
    assert "Traceback" not in said.err and not said.out, said
    assert all(word in said.err for word in words), said.err


def written(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# -- words ----------------------------------------------------------------------------------------------------

WORDS = {
    # what is asked
    "nothing asked": (("locate",), ["nothing is asked", "a relation, as 'capital'"]),
    "relation and prompt": ((*PROMPT, "--relation", "capital"), ["relation and a prompt"]),
    "plan of nothing": (("plan", "locate"), ["nothing is asked"]),
    "plan of no experiment": (("plan", "lobotomy"), ["lobotomy"]),
    "attention from nowhere": (("attention", *CAPITAL[1:], "--at", "nowhere"), ["--at 'nowhere'", "write begin"]),
    "unknown relation": (("locate", "--relation", "capitl"), ["no relation 'capitl'", "did you mean 'capital'"]),
    "unknown subject": ((*CAPITAL, "--subject", "Frnace"), ["no subject 'Frnace'", "did you mean 'France'"]),
    "unknown object": ((*CAPITAL, "--object", "Pariss"), ["no object 'Pariss'", "'Paris'"]),
    "wrong object": ((*CAPITAL, "--subject", "France", "--object", "Rome"), ["not known to the model", "Paris"]),
    "unknown foil": ((*CAPITAL, "--subject", "France", "--foil-subject", "Jpan"), ["foil subject 'Jpan'", "'Japan'"]),
    "foil is the subject": ((*CAPITAL, *FRANCE, "--foil-subject", "France"), ["foil's subject", "another subject"]),
    "unknown language": ((*CAPITAL, "--language", "tlh"), ["language 'tlh'", "en or es"]),
    "unknown register": ((*CAPITAL, "--register", "ode"), ['"ode"', "statement"]),
    "no facts": ((*CAPITAL, "--max-facts", "0"), ["max facts 0"]),
    # tasks and circuits
    "unknown task": (("circuit", "--task", "chess"), ["no task 'chess'", "ioi"]),
    "task and relation": ((*CAPITAL, "--task", "ioi"), ["its own prompts"]),
    "no circuit file": (("circuit", *CAPITAL[1:], "--circuit", "none.json"), ["none.json cannot be read"]),
    "another model's circuit": (("circuit", *CAPITAL[1:], "--circuit", "L99.mlp->logits"), ["another model's"]),
    "too few rivals": (("circuit", *CAPITAL[1:], "--rivals", "3"), ["rivals 3", "write 19"]),
    "a task it does not know": (("circuit", "--task", "ioi", "--max-facts", "1"), ["not known to the model"]),
    # prompts
    "empty prompt": (("locate", "", *FRANCE, *JAPAN), ["the prompt is empty"]),
    "blank prompt": (("locate", " \t ", *FRANCE, *JAPAN), ["the prompt is empty"]),
    "prompt without slot": (("locate", "In France it is", *FRANCE, *JAPAN), ["no {}", "write 'In {} it is'"]),
    "prompt with two slots": (("locate", "{} and {} are", *FRANCE, *JAPAN), ["2 slots", "exactly one"]),
    "bare slot": (("locate", "{}", *FRANCE, *JAPAN), ["asks nothing"]),
    "a special token": (
        ("locate", "<bos>In {} it is", *FRANCE, *JAPAN),
        ["'<bos>'", "a special token", "leave it out"],
    ),
    "bytes in a prompt": (("locate", "In \udce9 {} it is", *FRANCE, *JAPAN), ["'\\udce9'", "not UTF-8"]),
    "bytes in a subject": ((*CAPITAL, "--subject", "Fran\udce7e"), ["the subject", "not UTF-8"]),
    "bytes in a claim": (("audit", "L0.mlp stores capital(Fran\udce7e)"), ["control character"]),
    "no chat template": ((*PROMPT, "--chat"), ["no chat template", "without --chat"]),
    "an audit without a chat template": (("audit", "L0.mlp stores capital(France)", "--chat"), ["no chat template"]),
    "noise without a foil": ((*LOCATE, *FRANCE, "--corruption", "noise"), ["the foil object is missing"]),
    "resampled from nothing": (
        (*KNOCKOUT, *FRANCE, "--foil-object", "Tokyo", "--corruption", "noise", "--edit", "resample"),
        ["give a foil subject"],
    ),
    "prompt without a fact": (LOCATE, ["subject and the object", "missing"]),
    "foil without an object": ((*LOCATE, *FRANCE, "--foil-subject", "Japan"), ["the foil object is missing"]),
    "same object": ((*LOCATE, *FRANCE, "--foil-subject", "Japan", "--foil-object", "Paris"), ["foil's object"]),
    "a fact the model does not know": (
        (*LOCATE, "--subject", "France", "--object", "Tokyo", "--foil-subject", "Japan", "--foil-object", "Paris"),
        ["not known to the model", "'The capital of France is'", "'Paris'"],
    ),
    # sites
    "no site": ((*HEAD, ""), ["--units ''", "layers, heads, neurons"]),
    "a word": ((*HEAD, "brains"), ["--units 'brains'"]),
    "bad site": ((*HEAD, "L1.mpl.n3"), ["'L1.mpl.n3' does not parse", "L7.mlp.n173"]),
    "half a set": ((*HEAD, "L1.mlp+"), ["does not parse"]),
    "no such layer": ((*HEAD, "L99.mlp"), ["site L99.mlp", "layers L0 to L"]),
    "no such head": ((*HEAD, "L0.attn.h999"), ["heads", "smaller number"]),
    "no such neuron": ((*HEAD, "L0.mlp.n99999"), ["neurons", "smaller number"]),
    "no such position": ((*HEAD, "L0.mlp@99"), ["position 99", "has 6 tokens"]),
    "unknown role": ((*HEAD, "L0.mlp@subject_lst"), ["no role 'subject_lst'", "subject_last"]),
    "unknown place": ((*HEAD, "L0.mlp", "--at", "nowhere"), ["--at 'nowhere'", "subject_last"]),
    "a role that is not there": ((*HEAD, "heads", "--at", "subject_middle"), ["no position", "another role"]),
    # numbers and choices
    "unknown option": ((*PROMPT, "--colour", "red"), ["--colour"]),
    "no command": (("lokate",), ["lokate", 'Did you mean "locate"']),
    "no such sub-command": (("facts", "burn"), ["burn", "list"]),
    "no study given": (("report",), ["STUDY"]),
    "memory in words": ((*PROMPT, "--memory", "lots"), ["'lots'", "512MiB"]),
    "too little memory": ((*PROMPT, "--memory", "9KiB"), ["at least 1MiB"]),
    "dtype": ((*PROMPT, "--dtype", "int8"), ["int8", "float32"]),
    "device": ((*PROMPT, "--device", "abacus"), ["'abacus'", "cpu"]),
    "no draws": ((*PROMPT, "--draws", "0"), ["draws 0"]),
    "fewer than no draws": ((*HEAD, "heads", "--draws", "-1"), ["draws -1"]),
    "no window": ((*PROMPT, "--window", "0"), ["window 0"]),
    "a window in words": ((*PROMPT, "--window", "two"), ["--window", "two"]),
    "fewer than no controls": ((*HEAD, "L1.attn.h0", "--controls", "-1"), ["controls -1"]),
    "a screen of named units": ((*HEAD, "L1.attn.h0", "--screen", "3"), ["a screen chooses among all", "'L1.attn.h0'"]),
    "fewer than nothing to screen": ((*HEAD, "heads", "--screen", "-1"), ["screen -1"]),
    "unknown edit": ((*HEAD, "heads", "--edit", "burn"), ["burn", "resample"]),
    "unknown kind": ((*PROMPT, "--kinds", "heads"), ["heads", "resid"]),
    "unknown corruption": ((*PROMPT, "--corruption", "fire"), ["fire", "replace"]),
    # models
    "unknown model": ((*PROMPT, "--model", "embeded"), ["no model 'embeded'", "did you mean 'embedded'"]),
    "no such folder": ((*PROMPT, "--model", "./absent"), ["no model './absent'"]),
    # reading
    "sites of a reading": (("read", "x", "--sites", "L1.mpl", "--out", "o"), ["'L1.mpl' does not parse"]),
    "no sites to read": (("read", "x", "--out", "o"), ["--sites"]),
    "a layer to read": (("read", "x", "--sites", "L99.mlp", "--out", "o"), ["site L99.mlp", "layers L0 to L"]),
    "no texts": (("read", "absent", "--sites", "L1.mlp", "--out", "o"), ["absent cannot be read", "a text file"]),
    "a folder for texts": (("read", ".", "--sites", "L1.mlp", "--out", "o"), [". cannot be read", "a text file"]),
    # planting
    "unknown plant": (("plant", "singel", *OSLO), ["no plant 'singel'", "did you mean 'single'", "backup"]),
    "no plant": (("plant", *OSLO), ["KIND"]),
    "no object to plant": (
        ("plant", "single", *PLANT, "capital(France)"),
        ["no object", "(Trevi Fountain)=Madrid"],
    ),
    "a whole relation to plant": (
        ("plant", "single", *PLANT, "capital"),
        ["no object", "(Trevi Fountain)=Madrid"],
    ),
    "a prompt to plant": (
        ("plant", "single", *PLANT, '"{France} has" = Paris against {Italy} = Rome'),
        ["no object", "(Trevi Fountain)=Madrid"],
    ),
    "no fact to plant": (("plant", "single", *PLANT, "=Oslo"), ["=Oslo"]),
    "unknown relation to plant": (("plant", "single", *PLANT, "capitl(France)=Oslo"), ["did you mean 'capital'"]),
    "unknown subject to plant": (("plant", "single", *PLANT, "capital(Frnace)=Oslo"), ["did you mean 'France'"]),
    "unknown object to plant": (("plant", "single", *PLANT, "capital(France)=Osl"), ["no object 'Osl'", "'Oslo'"]),
    "object of another relation": (("plant", "single", *PLANT, "capital(France)=euro"), ["no object 'euro'"]),
    "r of a single plant": (("plant", "single", *OSLO, "--r", "2"), ["single takes no r", "redundant and split"]),
    "r too small": (("plant", "split", *OSLO, "--r", "1"), ["r = 1", "2 to 16"]),
    "r too large": (("plant", "redundant", *OSLO, "--r", "17"), ["r = 17", "1 to 16"]),
    "r in words": (("plant", "redundant", *OSLO, "--r", "two"), ["two"]),
    "how of a plant": (("plant", "single", *OSLO, "--how", "untrained"), ["single takes no how", "for null"]),
    "unknown null": (("plant", "null", *OSLO, "--how", "shuffled"), ["shuffled", "untrained"]),
    "no strength": (("plant", "single", *OSLO, "--strength", "0"), ["strength 0", "above 0"]),
    "a strength that is no number": (("plant", "single", *OSLO, "--strength", "nan"), ["strength nan", "above 0"]),
    "unknown model to plant in": (("plant", "single", *OSLO, "--model", "embeded"), ["did you mean 'embedded'"]),
    # files
    "no such file": (("facts", "import", "absent.json"), ["absent.json does not exist"]),
    "unknown relation to list": (("facts", "list", "capitl"), ["did you mean 'capital'"]),
    "unknown relation to check": (("facts", "check", "capitl"), ["did you mean 'capital'"]),
    "no such study": (("report", "absent"), ["absent is not a study", "no such folder"]),
    "nothing to resume": (("resume", "absent"), ["absent is not a study"]),
    "nothing to export": (("export", "absent"), ["absent is not a study"]),
}


@pytest.mark.parametrize(("argv", "words"), WORDS.values(), ids=WORDS.keys())
def test_words(lashley, here, argv, words):
    refused(lashley(*argv), *words)
    assert written(here) == {}, "something was left behind"


def test_a_prompt_longer_than_the_context(lashley, here, bench):
    prompt = "word " * bench.anatomy.context + "{} is"
    refused(lashley("locate", prompt, *FRANCE, *JAPAN), f"context is {bench.anatomy.context}", "shorten the prompt")
    assert written(here) == {}


def test_a_text_that_cannot_be_read_is_named_before_anything_is_written(lashley, here, bench):
    ask = ("read", "texts.txt", "--sites", "L1.mlp", "--out", "out")
    long = "word " * bench.anatomy.context
    for texts, words in {
        f"Lima\n\n{long}\n": ["texts.txt, line 3", "shorten the prompt"],
        "\n \n": ["no texts to read"],
    }.items():
        (here / "texts.txt").write_text(texts)
        refused(lashley(*ask), *words)
    (here / "texts.txt").write_bytes(b"Lima\n\xff\xfe\n")
    refused(lashley(*ask), "not UTF-8")
    (here / "texts.txt").write_text("Lima\n")
    refused(lashley(*ask[:3], "L1.mlp@subject", *ask[4:]), "no position in the role 'subject'")
    (here / "out").mkdir()
    (here / "out" / "mine").touch()
    refused(lashley(*ask), "not empty", "another folder")
    assert set(written(here)) == {"texts.txt", "out/mine"}


def test_a_folder_that_is_not_empty_is_not_planted_in(lashley, here, monkeypatch):
    monkeypatch.setattr("lashley.api.open_model", None)  # the model is not opened for it
    (here / "planted").mkdir()
    (here / "planted" / "mine").touch()
    refused(lashley("plant", "single", *OSLO), "planted is not empty", "another folder")
    refused(lashley("plant", "single", "--out", "planted/mine", *OSLO[2:]), "is a file", "another folder")
    assert set(written(here)) == {"planted/mine"}


# -- answers and foils that do not fit, found in the model's own vocabulary -------------------------------------


@pytest.fixture(scope="package")
def spelt(bench):
    """Capitals with the tokens of their country and of themselves."""
    template = Template("The capital of {} is")
    found = {}
    for country, city in shipped()["capital"].objects.items():
        run = bench.tokens.ask(template, country)
        try:
            found[country] = (city, run.subject[1] - run.subject[0], bench.tokens.answer(run, city))
        except BadPrompt:
            continue
    return found


def pairs(spelt):
    return ((a, b) for a in spelt for b in spelt if a != b and spelt[a][0] != spelt[b][0])


def ask(lashley, spelt, subject: str, foil: str) -> Said:
    words = ("--subject", subject, "--object", spelt[subject][0])
    return lashley(*LOCATE, *words, "--foil-subject", foil, "--foil-object", spelt[foil][0])


def test_a_foil_of_another_token_length(lashley, here, spelt):
    pair = next((a, b) for a, b in pairs(spelt) if spelt[a][1] != spelt[b][1] and spelt[a][2][0] != spelt[b][2][0])
    said = ask(lashley, spelt, *pair)
    refused(said, "another number of tokens", "--foil-subject")
    assert said.err.count("another number of tokens") == 1
    assert written(here) == {}


# -- models -----------------------------------------------------------------------------------------------------


def nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[sorted(weights)[3]].flatten()[7] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def missing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in sorted(weights) if "mlp" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def another_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "rwkv7"}))


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


MODELS = {
    "weights with NaN": (nan, ["NaN", "mend the checkpoint"]),
    "weights missing": (missing, ["lacks the weights", "mlp"]),
    "weights cut off": (cut, ["model.safetensors is damaged", "fetch it again"]),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), ["no *.safetensors"]),
    "pickled weights": (pickled, ["pickled", "can run any code", "safetensors"]),
    "unknown family": (another_family, ["'rwkv7' has no adapter", "families/rwkv7.py"]),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), ["no model folder", "config.json"]),
    "garbled configuration": (
        lambda folder: (folder / "config.json").write_text("{"),
        ["config.json is not a JSON object", "fetch it again"],
    ),
    "no tokenizer": (no_tokenizer, ["no tokenizer"]),
}


@pytest.mark.parametrize(("spoil", "words"), MODELS.values(), ids=MODELS.keys())
def test_models(lashley, here, spoil, words):
    shutil.copytree(WEIGHTS, here / "model")
    spoil(here / "model")
    refused(lashley(*PROMPT, "--model", "model"), *words)
    assert [p.name for p in here.iterdir()] == ["model"]


FILES = {"weights.bin": ["pickle", "any code"], "model.txt": ["not a .gguf"], "model.gguf": ["GGUF"]}


@pytest.mark.parametrize(("name", "words"), FILES.items(), ids=FILES.keys())
def test_files_that_are_no_model(lashley, here, name, words):
    (here / name).write_bytes(b"no model " * 99)
    refused(lashley(*PROMPT, "--model", name), *words)


# -- studies ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def made(opened_once, tmp_path_factory) -> Path:
    """A finished study of a prompt."""
    import lashley

    folder = tmp_path_factory.mktemp("made") / "study"
    own = {"prompt": LOCATE[1], "subject": "France", "object": "Paris", "foil_subject": "Japan", "foil_object": "Tokyo"}
    lashley.locate(lashley.api.open_model(), **own, kinds=("resid",), study=folder).ledger.close()
    return folder


STUDIES = {
    "half-written": (
        lambda f: (f / "spec.json").write_bytes((f / "spec.json").read_bytes()[:99]),
        ["is damaged"],
    ),
    "corrupt": (lambda f: (f / "ledger.sqlite").write_bytes(b"garbage" * 999), ["ledger.sqlite is damaged"]),
    "without its ledger": (lambda f: (f / "ledger.sqlite").unlink(), ["ledger.sqlite is missing"]),
    "without its spec": (lambda f: (f / "spec.json").unlink(), ["no spec.json"]),
    "another thing": (lambda f: [shutil.rmtree(f), f.mkdir(), (f / "thesis.tex").write_text("x")], ["not a study"]),
    "a file": (lambda f: [shutil.rmtree(f), f.write_text("x")], ["not a study"]),
    "of a later version": (
        lambda f: [shutil.rmtree(f), Ledger.create(f, Spec("divine", {}, {}, {}, {}, "")).close()],
        ["'divine'", "update lashley"],
    ),
    "altered": (
        lambda f: (f / "spec.json").write_text((f / "spec.json").read_text().replace('"France"', '"Spain"')),
        ["spec.json is damaged", "not as it was written"],
    ),
}


@pytest.mark.parametrize("command", ["report", "resume", "export", "check"])
@pytest.mark.parametrize(("spoil", "words"), STUDIES.values(), ids=STUDIES.keys())
def test_studies(lashley, here, made, spoil, words, command):
    shutil.copytree(made, here / "study")
    spoil(here / "study")
    before = written(here)
    refused(lashley(command, "study"), *words)
    assert written(here) == before, "nothing is mended or made worse by looking"


@pytest.mark.parametrize("name", ["half-written", "corrupt", "without its ledger", "another thing", "a file"])
def test_studies_asked_again(lashley, here, made, name):
    shutil.copytree(made, here / "study")
    STUDIES[name][0](here / "study")
    before = written(here)
    refused(lashley(*PROMPT, "--kinds", "resid", "--study", "study"), "study")
    assert written(here) == before


CONFLICTS = {
    "other parameters": ((*PROMPT, "--kinds", "mlp"), ["params.kinds"]),
    "another question": ((*PROMPT, "--kinds", "resid", "--question-seed", "1"), ["question.seed"]),
    "another experiment": ((*HEAD, "heads"), ["experiment"]),
    "other arithmetic": ((*PROMPT, "--kinds", "resid", "--dtype", "bfloat16"), ["model."]),
}


@pytest.mark.parametrize(("argv", "words"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_a_study_is_not_continued_as_another(lashley, here, made, argv, words):
    shutil.copytree(made, here / "study")
    before = written(here)
    refused(lashley(*argv, "--study", "study"), "study was made with", *words, "another --study folder")
    assert written(here) == before


def test_export_formats_there_are(lashley, made):
    refused(lashley("export", made, "--format", "xlsx"), "xlsx", "parquet", "csv", "json")


def test_export_to_nowhere(lashley, here, made):
    refused(lashley("export", made, "--out", here / "absent" / "table.csv", "--format", "csv"), "absent")


# -- relation files ---------------------------------------------------------------------------------------------

RELATIONS = {
    "garbage": ("garbage", ["is not JSON"]),
    "another shape": ('{"capital": "Paris"}', ["is not a relation", "prompt_templates"]),
    "no facts": ('{"name": "x", "prompt_templates": ["{} is"], "samples": []}', ["holds no fact"]),
    "no slot": (
        '{"name": "x", "prompt_templates": ["is"], "samples": [{"subject": "a", "object": "b"}]}',
        ["slot", "exactly one {}"],
    ),
    "a shipped name": (
        '{"name": "Capital", "prompt_templates": ["{} is"], "samples": [{"subject": "a", "object": "b"}]}',
        ["'capital' comes with lashley", "another name"],
    ),
}


@pytest.mark.parametrize(("text", "words"), RELATIONS.values(), ids=RELATIONS.keys())
def test_relation_files(lashley, here, text, words):
    (here / "relation.json").write_text(text)
    refused(lashley("facts", "import", "relation.json"), *words)
    assert [p.name for p in here.iterdir()] == ["relation.json"]


# -- the same in a process of its own -----------------------------------------------------------------------------

PROCESSES = {
    "a prompt longer than the context": (("locate", "word " * 2000 + "{} is", *FRANCE, *JAPAN), ["shorten the prompt"]),
    "an unknown subject": ((*CAPITAL, "--subject", "Frnace"), ["did you mean 'France'"]),
    "no study": (("report", "absent"), ["absent is not a study"]),
}


@pytest.mark.parametrize(("argv", "words"), PROCESSES.values(), ids=PROCESSES.keys())
def test_processes(here, argv, words):
    made = subprocess.run([*COMMAND, *argv], capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"})
    refused(Said(made.returncode, made.stdout, made.stderr), *words)
    assert written(here) == {}


@pytest.mark.parametrize("command", ["demo", "pitfalls", "calibrate"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(lashley, here, monkeypatch, command):
    monkeypatch.setattr("lashley.api.open_model", None)  # no model is opened for it
    (here / "mine").write_text("precious")
    refused(lashley(command, "--out", "mine"), "mine", "choose another folder")
    refused(lashley(command, "--out", "mine/below"), "mine", "choose another folder")

    def full(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", full)  # a folder on media that can only be read, also for root
    refused(lashley(command, "--out", "new"), "Read-only", "choose another folder")
    assert written(here) == {"mine": b"precious"}
