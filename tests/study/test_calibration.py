"""A calibration counts what it is told, resumes, and stops when its time is up; one real trial is run."""

import inspect

import msgspec
import pytest

from lashley.cli import models
from lashley.core.errors import BadPlant
from lashley.models import planted
from lashley.validation import calibrate as calibration
from lashley.validation.calibrate import STANDARD, Instance, Record, Result, read, trials
from lashley.validation.rates import auroc, summary, table, write


def result(true: bool, outcome: str, claim: str = "L2.mlp.n5 stores capital(France)", **words) -> Result:
    base = {"damage": 0.8, "restored": 0.8, "held": 0.8, "rivals": 0, "methods": {"mean": True}}
    return Result(claim, true, outcome, **{**base, **words})


def record(trial: Instance, *results: Result, **roles: tuple[str, ...]) -> Record:
    return Record(trial.key, trial, results, roles, {}, 60.0)


def found(*records: Record):
    return {line.what: line for line in summary("toy", records, 10).lines}


def test_false_claims_are_counted_with_their_upper_bound() -> None:
    single = Instance("toy", "single", 0)
    many = record(single, *[result(False, "refuted")] * 99, result(False, "supported"), result(False, "not testable"))
    line = found(many)["false claims supported, of all that are false and testable"]
    assert (line.share.value, line.share.n, line.met) == (0.01, 100, False)  # the bound is 5.4%
    clean = found(record(single, *[result(False, "refuted")] * 100))
    assert clean["false claims supported, of all that are false and testable"].met


def test_what_is_standard_is_said_alike_where_there_is_no_torch() -> None:
    own = inspect.signature(models.plant).parameters["strength"].default
    assert own == STANDARD == planted.STANDARD


def test_power_is_that_of_true_claims_of_one_plant_and_strength() -> None:
    records = [record(Instance("toy", "single", s), result(True, "supported" if s else "undecided")) for s in range(10)]
    records.append(record(Instance("toy", "single", 99, 0.7), result(True, "undecided")))
    lines = found(*records)
    line = lines["true claims supported: single, strength 2"]
    assert (line.share.value, line.share.n, line.met) == (0.9, 10, True)
    assert lines["true claims supported: single, strength 0.7"].share.value == 0
    assert lines["– of capital"].share.n == 10


def test_a_table_says_of_what_the_plants_are_and_which_could_not_be_made() -> None:
    true = record(Instance("toy", "single", 0), result(True, "supported", "L2.mlp.n5 stores landmark(Louvre)"))
    unread = record(Instance("toy", "unread", 0), result(False, "refuted"))
    lost = msgspec.structs.replace(
        record(Instance("toy", "shared", 0)), error="too faint", refused=12, machine="a card"
    )
    null = msgspec.structs.replace(record(Instance("toy", "untrained", 0)), error="nothing known", refused=1)
    text = table([summary("toy", [true, unread, lost, null], 4)])
    assert "; a card; 4 minutes, added up" in text
    assert "In 2 of them nothing could be planted (1 shared, 1 untrained)." in text
    assert "Plants with a true claim: 1 of landmark." in text
    assert "of those tried | 85.7% [57.2, 98.2] | 14 |" in text  # 12 facts refused, 2 plants made, no null among them


def test_after_some_facts_of_one_relation_the_next_one_s_are_tried(monkeypatch) -> None:
    drawn = []

    def refuse(bench, relation, seed):
        drawn.append(relation)
        raise BadPlant("not this one")

    monkeypatch.setattr(planted, "draw", refuse)
    made = calibration.run(Instance("embedded-gpt2", "single", 1))
    assert drawn == ["capital"] * 4 + ["language"] * 4 + ["landmark"] * 4
    assert (made.error, made.refused, made.results) == ("not this one", 12, ())
    assert "cores, Python" in made.machine


def test_few_cases_can_miss_a_target_and_not_meet_it() -> None:
    what = "true claims supported: single, strength 2"
    for outcome, met in (("supported", None), ("undecided", False)):
        records = [record(Instance("toy", "single", s), result(True, outcome)) for s in range(9)]
        assert found(*records)[what].met is met
    assert "| 9 | at least 90% | too few to say |" in table(
        [summary("toy", [record(Instance("toy", "single", s), result(True, "supported")) for s in range(9)], 10)]
    )


def test_redundant_units_are_counted_and_masked_ones_told_apart() -> None:
    unit = "L2.mlp.n5 is sufficient for capital(France)"
    right = record(Instance("toy", "redundant", 1, r=3), result(True, "supported", unit, rivals=2), unit=("L2.mlp.n5",))
    wrong = record(Instance("toy", "redundant", 2, r=3), result(True, "supported", unit, rivals=1), unit=("L2.mlp.n5",))
    masked = record(Instance("toy", "backup", 3), result(False, "refuted", held=0.9, damage=0.0), first=("L2.mlp.n5",))
    unused = record(Instance("toy", "unread", 4), result(False, "refuted", held=0.0, damage=0.0), unit=("L5.mlp.n1",))
    lines = found(right, wrong, masked, unused)
    assert lines["redundancy (r sufficient neurons) counted exactly"].share.value == 0.5
    assert lines["“masked by self-repair” (1 claims on 1 plants) told from “unused” (AUROC)"].share.value == 1.0
    assert auroc([1.0], [1.0]) == 0.5


def test_a_part_of_a_calibration_says_so(tmp_path) -> None:
    made = summary("toy", [record(Instance("toy", "single", 0), result(True, "supported"))], 10)
    assert "the first 1 of 10 models" in table([made])
    text = write(made, tmp_path).read_text()
    assert "| true claims supported: single, strength 2 | 100.0% [2.5, 100.0] | 1 |" in text


def test_it_stops_when_its_time_is_up_and_goes_on_where_it_was(tmp_path, monkeypatch) -> None:
    asked: list[str] = []
    devices = set()

    def run(trial, device):
        asked.append(trial.key)
        devices.add(device)
        return record(trial, result(False, "refuted"))

    monkeypatch.setattr(calibration, "run", run)
    nothing = calibration.calibrate("toy", tmp_path, "quick", 1, minutes=0)
    assert nothing == [] and asked == []
    whole = calibration.calibrate("toy", tmp_path, "quick", 1, device="elsewhere")
    assert devices == {"elsewhere"}
    assert len(whole) == len(trials("toy", "quick")) == len(asked)
    with (tmp_path / "records.jsonl").open("ab") as file:
        file.write(b'{"key": "torn')
    again = calibration.calibrate("toy", tmp_path, "quick", 1)
    assert [r.key for r in again] == [r.key for r in whole] and len(asked) == len(whole)
    assert len(list(read(tmp_path / "records.jsonl"))) == len(whole)


@pytest.mark.timeout(600)
def test_a_model_with_nothing_to_find_supports_nothing(monkeypatch) -> None:
    monkeypatch.setattr(calibration, "SEARCHED", 3)
    monkeypatch.setattr(calibration, "RANDOM", 2)
    made = calibration.run(Instance("embedded-gpt2", "shuffled weights", 500))
    assert not made.error and made.results
    assert all(not r.true and r.outcome != "supported" for r in made.results)
