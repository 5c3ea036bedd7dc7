"""What every experiment promises, tested the day its file appears."""

import dataclasses
import re
import subprocess
import sys
import typing
from functools import cache

import msgspec
import pandas as pd
import pytest

from lashley import experiments
from lashley.core.figure import Estimate, Finding
from lashley.core.graph import Graph
from lashley.core.progress import silent
from lashley.core.question import Question
from lashley.core.trial import Sweep
from lashley.report import from_json, to_json
from lashley.study.comparison import compare
from lashley.study.planning import Asking

from .conftest import ASKED, CLAIM, SMALL, told

NO_TORCH = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from lashley import experiments
for name in experiments.names():
    experiments.find(name)
"""


def test_parameters_are_frozen_have_defaults_and_are_documented(experiment):
    params = experiments.find(experiment).Params
    assert dataclasses.is_dataclass(params) and params.__dataclass_params__.frozen
    assert hash(params()) == hash(params())
    for field in dataclasses.fields(params):
        assert f"\n    {field.name}\n        " in params.__doc__, f"{field.name} is not documented"


def test_its_question_names_the_facts_and_the_model(experiment):
    asked = experiments.find(experiment).question.format(facts="FACTS", model="MODEL")
    assert "FACTS" in asked and "MODEL" in asked and asked.endswith("?")


def test_none_needs_torch():
    subprocess.run([sys.executable, "-W", "error", "-c", NO_TORCH], check=True)


@pytest.fixture(scope="module")
def gathered(bench):
    """`gathered(experiment)`: what it asks of the model."""

    @cache
    def made(name: str):
        kind = experiments.find(name)
        return kind.gather(asked(name), Question(**SMALL), Asking(bench, silent)).material

    return made


def asked(experiment: str):
    """Its parameters: the default ones, but for what has to be given."""
    return experiments.find(experiment).Params(**ASKED.get(experiment, {}))


def planned(experiment: str, material) -> list[Sweep]:
    """What it plans; what a screen estimated is left out."""
    kind = experiments.find(experiment)
    return [getattr(each, "sweep", each) for each in kind.plan(asked(experiment), material)]


def test_planning_is_pure(experiment, gathered):
    once, again = (planned(experiment, gathered(experiment)) for _ in range(2))
    assert once and all(isinstance(sweep, Sweep) and len(sweep) for sweep in once)
    assert [sweep.key for sweep in once] == [sweep.key for sweep in again]
    assert len({sweep.key for sweep in once}) == len(once)


def test_sites_are_in_the_model_and_in_the_prompt(experiment, gathered, bench):
    for sweep in planned(experiment, gathered(experiment)):
        assert not sweep.edges or sweep.edges.graph == Graph.of(bench.anatomy)
        for trial in sweep.sites:
            for site in trial:
                bench.anatomy.check(site)
                assert site.position is None or 0 <= site.position < len(sweep.run)


def test_telling_and_drawing_leave_the_table_alone_and_repeat_themselves(experiment, study):
    made = study(experiment)
    kind, table = made.experiment, made.table
    once, again = (kind.measure(made.params, table, made.arrays()) for _ in range(2))
    assert kind.tell(made.params, once) == kind.tell(made.params, again)
    assert kind.draw(made.params, once, table) == kind.draw(made.params, again, table)
    pd.testing.assert_frame_equal(table, made.table)


def test_its_result_is_numbers_that_survive_json(experiment, study):
    made = study(experiment)
    assert type(made.result).__struct_config__.frozen and type(made.result).__doc__
    data = msgspec.json.encode(made.result)
    read = msgspec.json.decode(data, type=type(made.result))
    assert read == made.result and made.page().result == msgspec.json.decode(data)
    assert made.experiment.tell(made.params, read) == made.experiment.tell(made.params, made.result)


def structs(kind: object) -> set[type[msgspec.Struct]]:
    """The structs that a type is made of, itself among them."""
    inner = {one for part in typing.get_args(kind) for one in structs(part)}
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return inner
    return {kind, *inner, *(one for field in typing.get_type_hints(kind).values() for one in structs(field))}


def test_every_number_of_its_result_is_documented(experiment, study):
    """In the docstring that `help(type(study.result))` shows."""
    for kind in structs(type(study(experiment).result)) - {Estimate}:
        for field in kind.__struct_fields__:
            assert re.search(rf"\b{field}\b", kind.__doc__ or ""), f"{kind.__name__}.{field} is not documented"


def test_the_finding_is_a_sentence_about_the_fact(experiment, study):
    made = study(experiment)
    first = told(made, made.table).findings[0]
    assert isinstance(first, Finding) and first.sentence.endswith(".")
    named = CLAIM if made.experiment.asks == "claims" else "capital(France) = Paris"
    assert named in first.sentence
    assert first.estimate is not None and first.basis


def test_the_identity_control_is_always_there(experiment, study):
    made = study(experiment)
    control = next(c for c in made.page().controls if c.name == "identity edit")
    assert 0 <= control.estimate.value < 1e-3


def test_pictures_tell_what_they_show(experiment, study):
    made = study(experiment)
    drawing = made.experiment.draw(made.params, made.result, made.table)
    assert drawing.figures and drawing.tables
    named = CLAIM.split()[0] if made.experiment.asks == "claims" else "France"
    for figure in drawing.figures:
        assert named in figure.title and figure.caption and figure.alt


def test_the_page_survives_json(experiment, study):
    page = study(experiment).page()
    assert from_json(to_json(page)) == page


@pytest.mark.parametrize("rows", [1, 5, 50])
def test_what_is_measured_so_far_can_be_judged_and_drawn(experiment, study, rows):
    made = study(experiment)
    part = made.table.head(rows)
    assert told(made, part).findings[0].sentence
    made.experiment.draw(made.params, made.experiment.measure(made.params, part, {}), part)


def test_a_study_compared_with_itself_differs_in_nothing(experiment, study):
    found = compare(study(experiment), study(experiment).folder)
    assert len(found.table) and not found.table["differs"].any() and (found.table["difference"] == 0).all()
    cells = found.table[found.keys].astype(str)
    assert not cells.duplicated().any()
    assert from_json(to_json(found.page())) == found.page() and found.to_json()


def test_command_line_types_are_plain(experiment):
    """Words, numbers, flags and choices among words: what a command line, a form and JSON can all hold."""
    plain = {str, int, float, bool, tuple}
    for name, kind in typing.get_type_hints(experiments.find(experiment).Params).items():
        assert kind in plain or typing.get_origin(kind) in {typing.Literal, tuple}, name
