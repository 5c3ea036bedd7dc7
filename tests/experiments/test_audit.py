"""Claims go in, verdicts come out: of the embedded model, with few controls."""

import subprocess
import sys

import msgspec
import pandas as pd
import pytest

from lashley import api
from lashley.claims import topics
from lashley.claims.grammar import parse
from lashley.core.edit import Mean
from lashley.core.errors import BadClaim, BadSite, LashleyError
from lashley.experiments import audit
from lashley.experiments.audit.params import MOST
from lashley.stats.summary import measured
from lashley.study.study import Study

from .conftest import told

NEURON = "L4.mlp.n173 stores capital(France)"
ROLE = "L0.mlp@subject_last is sufficient for capital(France)"
SET = "L2.mlp.n5+L3.mlp.n7@final contributes to capital(France)"
OWN = 'L4.mlp.n173 stores "The capital of {France} is" = Paris against {Japan} = Tokyo'
NONSENSE = 'L4.mlp stores "The zorble of {France} is" = Rome against {Japan} = Tokyo'
FALSE = "L4.mlp stores capital(France)=Oslo"
FEW = {"controls": 20, "others": 6}
JUDGE = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
sys.argv[1:] = ["judge", sys.argv[1], "--json"]
from lashley.cli.app import main
main()
"""


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def made(bench, tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("audit") / "study"
    return api.audit(bench, NEURON, ROLE, SET, FALSE, NONSENSE, study=folder, **FEW)


@pytest.fixture(scope="module")
def verdicts(made):
    return {v.claim: v for v in audit.verdicts(made.params, made.table)}


def test_a_random_neuron_is_refuted_with_numbers(verdicts):
    got = verdicts[NEURON]
    assert got.outcome == "refuted" and {"necessary", "sufficient"} <= {
        c.criterion for c in got.criteria if c.status == "fails"
    }
    necessary = got["necessary"]
    assert abs(necessary.effect.value) < 0.05 and necessary.effect.low < necessary.effect.high < 0.5
    assert necessary.effect.n == 8 and necessary.p < 0.01
    assert "cannot be told from 0" in got.weaker and "of 20 matched random sites" in got.why


def test_claims_with_roles_and_sets_have_their_own_measurements(made, verdicts):
    assert verdicts[ROLE]["sufficient"].effect.value > 0.5 and verdicts[ROLE]["sufficient"].status == "holds"
    assert abs(verdicts[SET]["contributes"].effect.value) < 0.05
    rows = made.table[(made.table["question"] == "0") & (made.table["group"] == "confirm")]
    own = rows[(rows["measure"] == "damage") & (rows["edit"] == "mean")]
    assert own[own["trial"] == 1]["role"].unique().tolist() == ["subject_last"]


def test_the_verdict_rests_on_the_sweeps_that_it_names(made, verdicts):
    for verdict in verdicts.values():
        for c in verdict.criteria:
            assert set(c.evidence) <= set(made.ledger.planned()) and bool(c.evidence) == (c.effect is not None)


def test_rivals_that_two_sites_share_are_measured_once_and_count_for_both(bench, tmp_path):
    two = "L4.mlp.n174 stores capital(France)"
    study = api.audit(bench, NEURON, two, study=tmp_path / "study", **FEW)
    second = measured(study.table).query("measure == 'second'")
    assert set(second["set"]) == {"0 1"} and second["trial"].nunique() == 12
    claims = [parse(c) for c in study.params.claims]
    for own in audit.evidence(study.params, claims, study.table):
        pd.testing.assert_frame_equal(
            own.of("confirm", "second"), own.rows.loc[second.index].query("group == 'confirm'")
        )


def test_the_result_is_what_the_rows_come_to(made, verdicts):
    result, rows = made.result, measured(made.table)
    assert [v.claim for v in result.verdicts] == list(made.params.claims) and result.verdicts == list(verdicts.values())
    asked = rows[rows["question"].astype(str) == "0"]
    for own in result.claims[:2]:
        trial = result.claims.index(own)
        texts = asked[(asked["group"] == "text") & (asked["trial"] == trial)]["effect"]
        assert own.loss.value == pytest.approx(-texts.mean()) and own.loss.n == len(texts)
        measure = "restore" if "sufficient" in own.verdict.claim else "damage"
        drawn = asked[(asked["measure"] == f"random {measure}") & (asked["set"] == str(trial))]
        assert own.random.value == pytest.approx(drawn["effect"].clip(-1, 1).mean(), abs=1e-9)
        assert own.random.n <= drawn["trial"].nunique()
    for name in ("untrained", "shuffled"):
        control, change = getattr(result.controls, name), rows[rows["measure"] == name]["effect"]
        assert (control.value, control.n) == (pytest.approx(change.abs().mean()), len(change))


def test_a_number_is_not_found_within_another(made):
    claims = [parse(c) for c in made.params.claims]
    table = made.table
    second = table["measure"] == "second"
    table = table.assign(set=table["set"].astype(object).mask(second & (table["question"] == "0"), "10 11"))
    found = audit.evidence(made.params, claims, table)
    assert not any(len(own.of("confirm", "second")) for own in found[:2]) and len(found[0].damage("confirm"))


@pytest.mark.parametrize("claim", [NONSENSE, FALSE])
def test_what_the_model_does_not_know_is_not_testable_and_its_own_answers_are_told(made, verdicts, claim):
    got = verdicts[claim]
    assert got.outcome == "not testable" and "not known to the model" in got.why
    assert "its own top answers: ' " in got.why and got.criteria == ()
    assert claim in [v.claim for v in made.page().verdicts]


def test_nothing_that_was_confirmed_on_is_a_paraphrase(made):
    rows = made.table[made.table["measure"] == "damage"]
    confirm, paraphrase = (set(rows[rows["group"] == g]["prompt"]) for g in ("confirm", "paraphrase"))
    assert len(confirm) == 8 and len(paraphrase) == 8 and not confirm & paraphrase


def test_other_facts_are_other_facts(made):
    rows = made.table[made.table["question"] == "0"]
    for group in ("other", "firing", "fit"):
        others = rows[rows["group"] == group][["relation", "subject"]].drop_duplicates()
        assert len(others) and ("capital", "France") not in set(others.itertuples(index=False, name=None)), group
    assert len(rows[rows["group"] == "other"][["relation", "subject"]].drop_duplicates()) == FEW["others"]
    firing = rows[rows["group"] == "firing"]
    most = firing["most"].astype(str).str.partition(" ")[0].astype(float)
    assert (firing["fires"].astype(float) <= most).all(), "a fact that the model does not know may fire it more"


def test_the_optimal_constant_does_least_damage_where_it_is_fitted(made, verdicts):
    claims = [parse(c) for c in made.params.claims]
    for claim, own in zip(claims, audit.evidence(made.params, claims, made.table), strict=True):
        if own is not None and len(own.rows):
            fitted = own.rows[own.rows["group"] == "fit"].groupby("measure", observed=True)["effect"].mean()
            assert fitted.min() <= min(fitted["fit zero"], fitted["fit mean"]), claim


def test_verdicts_of_an_export_are_the_same_to_the_byte_without_torch(made, verdicts, tmp_path):
    made.export(tmp_path / "rows.parquet")
    run = [sys.executable, "-W", "error", "-c", JUDGE, str(tmp_path / "rows.parquet")]
    got = subprocess.run(run, capture_output=True, check=True).stdout
    assert got.strip() == msgspec.json.encode(list(verdicts.values()), order="deterministic")


def test_verdicts_depend_on_the_table_alone(made, verdicts):
    table = made.table
    before = table.copy()
    assert audit.verdicts(made.params, table) == audit.verdicts(made.params, table) == list(verdicts.values())
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("rows", [0, 1, 40, 300])
def test_what_is_measured_so_far_can_be_judged(made, rows):
    part = made.table.head(rows)
    got = audit.verdicts(made.params, part)
    assert [v.claim for v in got] == list(made.params.claims) and "supported" not in {v.outcome for v in got}
    assert told(made, part).findings[0].sentence


def test_a_resumed_study_is_as_one_that_nobody_disturbed(bench, tmp_path):
    small = {"controls": 2, "others": 1}

    def stop(what: str, done: int, total: int) -> None:
        if what == "measuring" and done > total // 3:
            raise Stopped

    whole = api.audit(bench, OWN, study=tmp_path / "whole", **small)
    with pytest.raises(Stopped):
        api.audit(bench, OWN, study=tmp_path / "cut", progress=stop, **small)
    cut = Study.open(tmp_path / "cut")
    assert not cut.complete and cut.ledger.progress()[0]
    cut.run(bench)
    pd.testing.assert_frame_equal(whole.table, cut.table)
    assert audit.verdicts(whole.params, whole.table) == audit.verdicts(cut.params, cut.table)


def test_a_claim_about_a_relation_is_about_its_facts(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(topics, "OF_RELATION", 6)
    about = "L0.mlp@subject_last is sufficient for currency"
    study = api.audit(bench, about, study=tmp_path / "s", controls=0, others=1)
    (got,) = audit.verdicts(study.params, study.table)
    confirm = study.table[study.table["group"] == "confirm"]
    assert confirm["subject"].nunique() == 6 and "6 subjects" in got["sufficient"].note
    assert "currency" not in set(study.table[study.table["group"] == "other"]["relation"])
    assert got.outcome != "not testable" and "the relation" not in got.why


@pytest.mark.parametrize("site", ["L99.mlp", "L0.attn.h99", "L0.mlp.n99999"])
def test_a_site_that_the_model_lacks_is_refused_and_leaves_nothing_behind(bench, tmp_path, site):
    with pytest.raises(BadSite, match=r"capital\(France\)"):
        api.audit(bench, f"{site} stores capital(France)", study=tmp_path / "s", **FEW)
    assert not (tmp_path / "s").exists()


def test_claims_are_frozen_in_one_spelling_each_once():
    spellings = (NEURON, "L4.mlp.n173   STORES capital( France )", "L4.mlp.n173 stores capital(France)=Paris")
    assert audit.frozen(spellings) == (NEURON,)
    with pytest.raises(LashleyError, match="no claim"):
        audit.frozen([])
    with pytest.raises(BadClaim):
        audit.frozen(["L4.mlp.n173 has capital(France)"])
    many = [f"L4.mlp.n{i} stores capital(France)" for i in range(MOST + 1)]
    with pytest.raises(LashleyError, match="screen"):
        audit.frozen(many)


def test_a_study_that_claims_nothing_has_no_verdicts(made):
    with pytest.raises(LashleyError, match="makes no claims"):
        audit.again({"window": 3}, made.table)


def test_a_knockout_is_the_mean_at_the_roles_of_other_facts(made):
    labels = {"group": "paraphrase", "measure": "damage"}
    sweeps = [s for s in made.ledger.sweeps() if labels.items() <= s.labels.items()]
    assert sweeps and all(isinstance(s.edits[0], Mean) for s in sweeps)
