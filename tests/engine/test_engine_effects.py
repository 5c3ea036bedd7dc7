"""`Bench.effects`: what plain hooks give for each site set, in its unit; and what cannot be asked is refused."""

import numpy as np
import pytest
from oracle import Oracle
from tiny import open_model

from lashley.core.edit import Mean, Patch, Resample, Zero
from lashley.core.errors import BadPrompt, BadSite, LashleyError
from lashley.core.fact import Template
from lashley.core.readout import LogitDifference
from lashley.core.site import Site, parse_sites
from lashley.engine.bench import Bench

ASKED = {  # prompt, subject, another of as many tokens, and answers on which the two lie more than a logit apart
    "llama, grouped queries": ("{} stands in", "Tower", "Lima", "Lima", "Peru"),
    "gpt2": ("{}, and", "stands", "capital", "Paris", "Peru"),
    "gpt_neox, parallel": ("{}, and", "Peru", "Paris", "Lima", "Peru"),
    "gpt_neox, sequential": ("{}, and", "stands", "capital", "Lima", "Paris"),
    "gemma3, window and soft cap": ("{}, and", "is", "has", "Peru", "Lima"),
}
SETS = [
    "L1.mlp",
    Site(0, "attn", None, "subject_last"),
    "L0.attn.h1@final+L1.mlp.n3",
    (Site(1, "head", 2), Site(1, "mlp")),
    "L0.mlp+L0.mlp.n3@final",
]
OTHERS = ("Lima", "Tower", "has")


@pytest.mark.parametrize(
    ("edit", "shares"),
    [("zero", False), ("mean", False), ("zero", True), ("mean", True), ("resample", True), ("patch", True)],
)
def test_effects_are_those_of_plain_hooks(name, edit, shares):
    text, subject, corrupt, answer, foil = ASKED[name]
    bench, oracle = Bench(open_model(name)), Oracle(name)
    more = {"reference": OTHERS} if edit == "mean" else {}
    more |= {"corrupt": corrupt} if shares else {}
    found = bench.effects(text, answer, foil, SETS, subject=subject, edit=edit, **more)
    clean, other, *reference = (bench.tokens.ask(Template(text, join=" "), s) for s in (subject, corrupt, *OTHERS))
    readout = LogitDifference(bench.tokens.answer(clean, answer), bench.tokens.answer(clean, foil))
    edits = {"zero": Zero(), "mean": Mean(tuple(reference)), "resample": Resample(other), "patch": Patch(clean)}
    run = other if edit == "patch" else clean

    def difference(run, sites=()):
        spots = [s for site in sites for s in run.resolve(site)]
        return oracle.values(run, [(s, edits[edit]) for s in spots], [readout])[0]

    sets = [parse_sites(s) if isinstance(s, str) else (s,) if isinstance(s, Site) else s for s in SETS]
    sets[-1] = sets[-1][:1]  # the neuron is part of the MLP
    edited = np.array([difference(run, sites) for sites in sets])
    before, after = difference(clean), difference(other)
    wanted = edited - after if edit == "patch" else before - edited
    np.testing.assert_allclose(found, wanted / (before - after if shares else 1.0), rtol=0, atol=2e-4)
    assert found.dtype == np.float64 and np.ptp(wanted) > 0.1


def test_a_prompt_may_be_written_out(tiny_llama):
    bench = Bench(tiny_llama)
    text, subject, corrupt, answer, foil = ASKED["llama, grouped queries"]
    sites = ["L1.mlp", "L0.attn@1"]
    wanted = bench.effects(text, answer, foil, sites, subject=subject, corrupt=corrupt)
    full, other = text.format(subject), text.format(corrupt)
    assert np.array_equal(bench.effects(full, answer, foil, sites, subject=subject, corrupt=corrupt), wanted)
    assert np.array_equal(bench.effects(full, answer, foil, sites, corrupt=other), wanted)
    assert bench.effects(full, answer, foil, []).shape == (0,)


WRONG = {
    "sites that are no list": ({"sites": "L1.mlp"}, LashleyError, "give a list"),
    "a site that does not parse": ({"sites": ["L1.mlp", "nowhere"]}, BadSite, "does not parse"),
    "a site of another model": ({"sites": ["L9.mlp"]}, BadSite, "the model has layers"),
    "a set without sites": ({"sites": [()]}, BadSite, "no set of sites"),
    "a number": ({"sites": [3]}, BadSite, "no set of sites"),
    "a role that is not there": ({"sites": ["L1.mlp@subject_middle"]}, BadSite, "no position in the role"),
    "a slot without a subject": ({"subject": None}, BadPrompt, "give subject="),
    "a subject that is not there": ({"prompt": "Peru stands in"}, BadPrompt, "stands 0 times"),
    "an empty subject": ({"subject": ""}, LashleyError, "empty"),
    "another edit": ({"edit": "half"}, LashleyError, "zero, mean, resample or patch"),
    "a mean over nothing": ({"edit": "mean"}, LashleyError, "give reference="),
    "a reference that is no list": ({"edit": "mean", "reference": "Peru"}, LashleyError, "give a list"),
    "a patch from nowhere": ({"edit": "patch"}, LashleyError, "give corrupt="),
    "a corrupt run of another length": ({"edit": "resample", "corrupt": "stands is"}, BadPrompt, "tokens"),
    "a corrupt run that is the same": ({"corrupt": "Tower"}, BadPrompt, "0.00 logits apart"),
    "one answer twice": ({"foil": "Lima"}, BadPrompt, "begins with all tokens"),
    "an answer that is empty": ({"answer": ""}, BadPrompt, "one is empty"),
    "a prompt that is empty": ({"prompt": "", "subject": None}, BadPrompt, "empty"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "kind", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_asked_is_refused_in_a_line(tiny_llama, words, kind, said):
    plain = {"prompt": "{} stands in", "answer": "Lima", "foil": "Peru", "sites": ["L1.mlp"], "subject": "Tower"}
    with pytest.raises(kind, match=said) as refused:
        Bench(tiny_llama).effects(**plain | words)
    assert "\n" not in str(refused.value)
