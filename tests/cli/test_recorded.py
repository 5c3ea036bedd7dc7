"""What a study records as its command, typed again, is the same experiment, parameters, question and place."""

import dataclasses
import shlex
import types
import typing
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lashley as package
from lashley import api, experiments
from lashley.cli import app as cli
from lashley.cli import asking, options
from lashley.core.command import USUAL, command
from lashley.core.errors import LashleyError
from lashley.core.question import Question
from lashley.experiments import audit
from lashley.facts import question as questions

AWKWARD = ["", "-", "--", "-x {}", "--json", "--units=L1", "a b", "'", "None", "False", "[1]", "L3.attn", "+"]
TEXT = st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ALONE = {"audit": {"chat"}}  # of a question, what an experiment takes; all of it where none is named


def values(kind: typing.Any) -> st.SearchStrategy:
    """What a parameter of this type may hold."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(of)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(values(k) for k in of if k is not type(None)))
    if origin is tuple and of[1:] == (...,):
        return st.lists(values(of[0]), max_size=3).map(tuple)
    known = {bool: st.booleans(), int: st.integers(0, 99) | st.integers(), float: st.floats(0, 1), str: TEXT}
    assert kind in known, f"no values are known of the type {kind}; teach this test some"
    return known[kind]


def drawn(data, make, name: str, kind: typing.Any, usual: typing.Any):
    """Something with a value of one field that is not the usual one; None where the value drawn is refused."""
    value = data.draw(values(kind).filter(lambda v: v != usual), label=name)
    try:
        return make(**{name: value})
    except LashleyError:
        return None


def begun(do):
    """Experiment, parameters, question, study folder and model with which `do` would begin a study."""
    studies, on = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "begin", lambda *words: [studies.append(words), types.SimpleNamespace(run=print)][1])
        patch.setattr(api, "open_model", lambda model, **words: on.append({"model": model, **words}))
        patch.setattr(api, "_bench", lambda bench: bench)
        patch.setattr(api, "claims", lambda sentences, _: tuple(sentences))
        patch.setattr(audit, "frozen", tuple)
        patch.setattr(questions, "resolve_all", lambda *_: None)
        patch.setattr(asking, "show", lambda *_: None)
        with suppress(SystemExit):
            do()
    experiment, params, question, _, folder, *_ = studies[0]
    return experiment, params, question, folder, on and on[0]


def typed(line: str):
    """What the command line makes of a command."""
    program, *words = shlex.split(line)
    assert program == "lashley"
    return begun(lambda: cli.app(cli._listed(words), exit_on_error=False, print_error=False))


@pytest.mark.parametrize("experiment", experiments.names())
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_every_parameter_is_recorded(experiment, data):
    kind = experiments.find(experiment).Params
    hints = typing.get_type_hints(kind)
    for f in dataclasses.fields(kind):
        if params := drawn(data, kind, f.name, hints[f.name], f.default):
            line = command(experiment, params, Question())
            assert typed(line) == (experiment, params, Question(), None, USUAL), line


@pytest.mark.parametrize("experiment", ["audit", "knockout", "locate"])  # with a seed of its own, and without one
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_every_part_of_a_question_is_recorded(experiment, data):
    params, hints = experiments.find(experiment).Params(), typing.get_type_hints(Question)
    for f in msgspec.structs.fields(Question):
        if f.name not in ALONE.get(experiment, Question.__struct_fields__):
            continue
        choice = asking.REGISTER if f.name == "register" else hints[f.name]
        if question := drawn(data, Question, f.name, choice, f.default):
            line = command(experiment, params, question)
            assert typed(line) == (experiment, params, question, None, USUAL), line


SEEDS = [  # what is given; the experiment's own seed, and that of the facts and foils
    ({"seed": 3}, 3, 3),
    ({"question_seed": 3}, 0, 3),
    ({"seed": 3, "question_seed": 0}, 3, 0),
    ({"seed": 3, "question_seed": 3}, 3, 3),
]


@pytest.mark.parametrize(("given", "own", "drawn"), SEEDS, ids=str)
@pytest.mark.parametrize("experiment", experiments.names())
def test_a_seed_is_the_same_from_python_and_from_the_command_line(experiment, given, own, drawn):
    claims = experiments.find(experiment).asks == "claims"  # these name their facts: none are drawn
    given = {name: seed for name, seed in given.items() if not (claims and name == "question_seed")}
    options = " ".join(f"--{name.replace('_', '-')} {seed}" for name, seed in given.items())
    typed_so = typed(f"lashley {experiment} {options}")[:3]
    assert typed_so == begun(lambda: getattr(package, experiment)("embedded", **given))[:3]
    _, params, question = typed_so
    assert dataclasses.asdict(params).get("seed", own) == (own if "seed" in given or not claims else 0)
    assert question.seed == (0 if claims else drawn)
    assert typed(command(experiment, params, question))[:3] == typed_so


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_where_it_ran_is_recorded(data):
    hints = typing.get_type_hints(options.Running)
    for name, usual in USUAL.items():
        value = data.draw(values(hints[name]).filter(lambda v, usual=usual: v != usual), label=name)
        *_, on = typed(command("locate", experiments.find("locate").Params(), Question(), **{name: value}))
        assert on == USUAL | {name: value}
    folder = data.draw(TEXT.filter(lambda text: text not in ("", ".")), label="study")
    assert typed(command("locate", experiments.find("locate").Params(), Question(), study=folder))[3] == Path(folder)


def test_what_is_usual_is_usual_on_the_command_line():
    assert dataclasses.asdict(options.Running()) == USUAL | {"study": None, "json": False}


MADE = {
    "no operations": lambda b, at: package.circuit(b, relation="capital", subject="France", operations=False, study=at),
    "an audit": lambda b, at: package.audit(b, "L2.mlp.n3 contributes to capital(France)", controls=3, study=at),
    "a search": lambda b, at: package.audit(b, strongest=1, of="capital(France)", controls=2, seed=1, study=at),
    "a star": lambda b, at: package.audit(b, "L1.attn.h* contributes to capital(France)", controls=0, study=at),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_a_study_from_python_is_taken_up_by_its_own_command(lashley, here, monkeypatch, make):
    bench = api.open_model("embedded-gpt2", memory="64MiB")

    class Begun(Exception):
        pass

    def stop(*_, **__):
        raise Begun

    monkeypatch.setattr(package.Study, "prepare", stop)
    with pytest.raises(Begun):
        make(bench, here / "study")
    first = package.Study.open(here / "study").ledger.spec
    with pytest.raises(Begun):
        cli.app(cli._listed(shlex.split(first.command)[1:]), exit_on_error=False, print_error=False)
    assert "--model embedded-gpt2 --memory 64MiB --study " in first.command
