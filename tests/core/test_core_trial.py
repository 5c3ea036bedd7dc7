"""Keys name content: the same question the same key, any change another; and effects as the protocol defines them."""

import msgspec
import numpy as np
import pytest

from lashley.core import edit, readout
from lashley.core.edit import Add, Identity, Mean, Noise, Patch, ProjectOut, Resample, Zero
from lashley.core.readout import KL, LogitDifference, LogProbability, Loss, Probability, Rank
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep

FRANCE = Run("The capital of France is", (1, 5, 6, 7, 8), 1, (3, 4))
PERU = Run("The capital of Peru is", (1, 5, 6, 9, 8), 1, (3, 4))
SITES = Sites.of([[Site(0, "resid", None, 3)], [Site(1, "head", 2), Site(2, "neuron", 5, 4)]])
ANSWERS = LogitDifference((10, 11), (12,))
FOSSIL, FOSSIL_TRIAL = "ea5d075c1ba06caab692ce5a7e3b2399", "5797ec4cbda3f870ad102c5008f54ef6"


def sweep(**changes) -> Sweep:
    first = Sweep(FRANCE, PERU, "restoration", (Patch(FRANCE),), SITES, ANSWERS, {"relation": "capital"})
    return msgspec.structs.replace(first, **changes)


def test_keys_of_old_studies_are_still_found():
    """If this fails, every study on disk has lost its answers: make a migration, then a new fossil."""
    assert sweep().key == FOSSIL
    assert sweep()[1].key == FOSSIL_TRIAL


def test_the_same_content_has_the_same_key():
    again = msgspec.json.decode(msgspec.json.encode(sweep()), type=Sweep)
    assert again == sweep() and again.key == sweep().key
    labels = {"relation": "capital", "subject": "France"}
    assert sweep(labels=labels).key == sweep(labels=dict(reversed(labels.items()))).key


def other(run: Run, **changes) -> Run:
    return msgspec.structs.replace(run, **changes)


NOISE, LOUDER = EmbeddingNoise(1.0, 0), EmbeddingNoise(2.0, 0)
CHANGES = {
    "another run": {"clean": PERU},
    "another token": {"clean": other(FRANCE, tokens=(1, 5, 6, 7, 9))},
    "another text": {"clean": other(FRANCE, text="the capital of France is")},
    "another begin": {"clean": other(FRANCE, begin=0)},
    "another subject": {"clean": other(FRANCE, subject=(2, 4))},
    "noise": {"corrupt": other(PERU, noise=NOISE)},
    "louder noise": {"corrupt": other(PERU, noise=LOUDER)},
    "other noise": {"corrupt": other(PERU, noise=EmbeddingNoise(1.0, 1))},
    "nothing corrupt": {"corrupt": None},
    "damage": {"effect": "damage"},
    "no labels": {"labels": {}},
    "other labels": {"labels": {"relation": "language"}},
    "fewer sites": {"sites": SITES.only(0)},
    "regrouped sites": {"sites": Sites.pack(*SITES.table)},
    "another position": {"sites": Sites.pack(*np.where(np.arange(5)[:, None] == 3, 1, SITES.table), sizes=[1, 2])},
    "another edit's number": {"sites": Sites.pack(*SITES.table[:4], 1, sizes=[1, 2])},
    "two edits": {"edits": (Patch(FRANCE), Patch(FRANCE))},
}
EDITS = [
    *(Identity(), Zero(), Patch(PERU), Resample(FRANCE), Mean((FRANCE,)), Mean((FRANCE, PERU)), Mean((PERU, FRANCE))),
    *(Noise((FRANCE,), 0), Noise((FRANCE,), 1), Add(b"\0\0\0\0"), Add(b"\0\0\0\0", 2.0), ProjectOut(b"\0\0\0\0")),
]
READOUTS = [
    *(LogitDifference((10,), (11, 12)), LogitDifference((12,), (10, 11)), LogProbability((10, 11)), KL(), Loss()),
    *(Probability((10, 11)), Rank((10, 11)), Rank((10, 11), (10, 12))),
]


def test_any_change_changes_the_key():
    changed = [*CHANGES.values(), *({"edits": (e,)} for e in EDITS), *({"readout": r} for r in READOUTS)]
    keys = [sweep().key, *(sweep(**c).key for c in changed)]
    assert len(set(keys)) == len(keys)


def test_a_trial_is_known_by_what_can_change_its_answer():
    """By its sites and edits, wherever it stands in its sweep; not by its neighbours or labels."""
    first, second = sweep()
    assert first.key != second.key
    assert sweep(labels={})[1].key == second.key
    assert sweep(sites=SITES.only(1))[0].key == second.key
    assert sweep(effect="damage")[1].key != second.key


def test_trials_that_do_different_things_at_one_site_have_different_keys():
    both = Sites.pack(1, KINDS.index("mlp"), -1, 2, edit=[0, 1])
    first, second = sweep(edits=(Patch(FRANCE), Zero()), sites=both)
    assert first.sites == second.sites and first.key != second.key


def test_a_sweep_is_its_trials():
    trials = list(sweep())
    assert [t.index for t in trials] == [0, 1] and len(sweep()) == 2
    assert [t.sites for t in trials] == list(SITES)
    with pytest.raises(IndexError):
        sweep()[2]


@pytest.mark.parametrize("effect, edited", [("restoration", PERU), ("damage", FRANCE)])
def test_restoration_edits_the_corrupt_run_and_damage_the_clean_one(effect, edited):
    assert sweep(effect=effect).run == edited
    assert sweep(effect=effect, corrupt=None).run == FRANCE


@pytest.mark.parametrize(
    "value, restored, damaged", [(5.0, 1.0, 0.0), (-3.0, 0.0, 1.0), (1.0, 0.5, 0.5), (-7.0, -0.5, 1.5)]
)
def test_effects_are_shares_of_what_the_corruption_does(value, restored, damaged):
    assert sweep(effect="restoration").normalise(value, clean=5.0, corrupt=-3.0) == restored
    assert sweep(effect="damage").normalise(value, clean=5.0, corrupt=-3.0) == damaged


@pytest.mark.parametrize("effect", ["restoration", "damage"])
def test_without_a_corrupt_run_the_effect_is_a_difference(effect):
    values = np.array([1.0, 7.0])
    np.testing.assert_array_equal(sweep(effect=effect, corrupt=None).normalise(values, 5.0, None), [4.0, -2.0])


def test_an_effect_of_a_corruption_that_does_nothing_is_not_finite():
    assert not np.isfinite(sweep().normalise(np.array([1.0, 5.0]), 5.0, 5.0)).any()


@pytest.mark.parametrize("module, items", [(edit, EDITS), (readout, READOUTS)])
def test_names_are_those_of_tables(module, items):
    assert {module.name(x) for x in items} == {c.__struct_config__.tag for c in {type(x) for x in items}}
    assert all(module.name(x).islower() for x in items)
