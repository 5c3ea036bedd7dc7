"""Claims in any combination can be planned: whatever their sites, no trial asks for what cannot be done."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lashley.core.anatomy import Anatomy
from lashley.core.case import Case, Dossier
from lashley.core.errors import BadSite
from lashley.core.fact import Fact, Template
from lashley.core.placed import placed
from lashley.core.run import EmbeddingNoise, Run
from lashley.core.site import KINDS, Kind, Site, Sites, parse_sites
from lashley.engine.planner import check
from lashley.experiments import audit
from lashley.experiments.audit.planning import plan

ANATOMY = Anatomy("llama", layers=4, heads=3, head_width=5, neurons=50, width=15, vocabulary=99, context=64)
OWN, FOIL = Fact("capital", "France", "Paris"), Fact("capital", "Japan", "Tokyo")
POSITIONS = (None, "subject_first", "subject_last", "subject", "subject_middle", "relation", "final", 1, -1, 9)


def case(tokens: int, subject: tuple[int, int], words: str, fact: Fact = OWN) -> Case:
    clean = Run(words, tuple(range(tokens)), 1, subject)
    corrupt = Run(words, clean.tokens, 1, subject, EmbeddingNoise(1.0, 0))
    return Case(fact, FOIL, Template(words), clean, corrupt, clean, (1,), (2,), tuple("abcdefghijkl"[:tokens]))


CONFIRM = (case(6, (2, 3), "The capital of {} is"), case(10, (3, 6), "As everyone knows, {} has for its capital"))
OTHERS = (case(4, (1, 2), "{} is", FOIL), case(4, (2, 4), "ends in {}", FOIL), case(12, (3, 4), "a long one {}", FOIL))
TEXT = Run("No subject here.", tuple(range(5)), 1)


@st.composite
def sites(draw) -> Site:
    kind = draw(st.sampled_from(KINDS))
    unit = draw(st.integers(0, 2)) if kind in ("head", "neuron") else None
    return Site(draw(st.integers(0, 2)), kind, unit, draw(st.sampled_from(POSITIONS)))


SETS = st.lists(sites(), min_size=1, max_size=4, unique=True).map(lambda found: tuple(sorted(found, key=str)))
PREDICATES = st.sampled_from(("stores", "contributes to", "is sufficient for"))


def dossier(sets) -> Dossier:
    every = {s for one in sets for s in one}
    units: dict[Kind, int] = {"head": ANATOMY.heads, "neuron": ANATOMY.neurons}
    return Dossier(
        ANATOMY,
        {"confirm": CONFIRM, "paraphrase": CONFIRM, "domain": OTHERS, "other": OTHERS, "fit": OTHERS[:1]},
        (),
        (CONFIRM[0].clean,),
        (TEXT,),
        {(layer, k): np.arange(1.0, n + 1) for k, n in units.items() for layer in range(4)},
        {s: np.random.default_rng(0).random((5, ANATOMY.site_width(s.kind)), np.float32) for s in every},
        tuple(((Site(3, "mlp"),), (Site(3, "attn"),)) for _ in sets),
        tuple(((OTHERS[0], 0.5),) for _ in sets),
        tuple("0.5 capital(Japan)" for _ in sets),
        2,
        ((CONFIRM[0], CONFIRM[0].readout),),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SETS, PREDICATES), min_size=1, max_size=3))
def test_claims_in_any_combination_are_planned_or_refused_by_name(claims):
    written = audit.frozen(f"{'+'.join(map(str, s))} {p} capital(France)" for s, p in claims)
    params = audit.Params(written, controls=6)
    (topic,) = audit.asks(params)
    try:
        sweeps = list(plan(params, [dossier(topic.sets)]))
    except BadSite as e:
        assert any(str(e).startswith("+".join(map(str, s)) + " is nowhere") for s, _ in claims)
        return
    for sweep in sweeps:
        check(sweep, ANATOMY)  # raises where an edit is made twice, or lies outside the run
    named = {label for s in sweeps for label in s.labels.get("set", "").split()} - {"all"}
    assert named <= {str(i) for i in range(len(topic.sets))}
    whole = [s for s in sweeps if "set" not in s.labels]
    assert all(len(s) == len(topic.sets) for s in whole), "a trial is a site set, in their order"


@settings(max_examples=200, deadline=None)
@given(st.lists(SETS, min_size=1, max_size=3), st.sampled_from([*CONFIRM, *OTHERS]))
def test_what_a_set_edits_is_what_it_names(sets, there):
    """The places in which the residual stream may change are those of a naive reading: units at their positions."""
    try:
        table = placed(there.clean, sets)
    except BadSite:
        return
    for one, found in zip(sets, table, strict=True):
        named = {where for s in one for r in there.clean.resolve(s) for where in places(r, len(there.clean))}
        assert {where for s in found for where in places(s, len(there.clean))} == named


def places(site: Site, length: int):
    """The smallest parts of a site: heads of attention and neurons of MLPs, at single positions."""
    units = {"attn": ("head", 3), "mlp": ("neuron", 50)}.get(site.kind)
    kind, unit = (units[0], range(units[1])) if units else (site.kind, [site.unit])
    for at in range(length) if site.position is None else [site.position]:
        yield from ((site.layer, kind, u, at) for u in unit)


def test_of_sets_without_overlap_nothing_changes():
    own = [parse_sites("L0.mlp@final+L1.attn.h2"), parse_sites("L2.resid"), parse_sites("L0.mlp.n3+L0.mlp.n4@1")]
    at = {"final": 5, 1: 1, None: None}
    plain = Sites.of([[Site(s.layer, s.kind, s.unit, at[s.position]) for s in sites] for sites in own])
    assert placed(CONFIRM[0].clean, own) == plain


@pytest.mark.parametrize(("text", "later"), [("L2.resid+L3.mlp", ()), ("L2.resid+L1.mlp", (2, 3)), ("L1.attn", (2, 3))])
def test_later_mlps_are_held_behind_every_site_of_a_set(text, later):
    params = audit.Params((f"{text} stores capital(France)",))
    own = parse_sites(text)
    held = [s for s in plan(params, [dossier([own])]) if s.labels["measure"] == "held"]
    assert [set(s.sites[0]) - set(own) for s in held] == [{Site(la, "mlp") for la in later}] * len(held)
    assert bool(held) == bool(later)


@pytest.mark.parametrize("text", ["L0.mlp+L0.mlp@final+L0.mlp.n3", "L0.mlp.n3@final+L0.mlp"])
def test_the_larger_site_stays(text):
    assert placed(CONFIRM[0].clean, [parse_sites(text)])[0] == parse_sites("L0.mlp")
