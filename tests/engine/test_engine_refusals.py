"""What does not fit the model or the prompt is an error before anything is computed, never another number."""

import msgspec
import numpy as np
import pytest
from tiny import VOCABULARY, WIDTH, run

from lashley.core.edit import Add, Constant, Patch, ProjectOut, Resample, Zero
from lashley.core.errors import BadPrompt, BadSite
from lashley.core.readout import LogitDifference
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine import planner
from lashley.engine.bench import Bench

READOUTS = (LogitDifference((5,), (7,)), LogitDifference((5, 9), (7, 9)))  # one token, several
ZERO, HEAD, MLP = Zero(), KINDS.index("head"), KINDS.index("mlp")
OUTSIDE = {
    "layer": Sites.pack(3, MLP, -1, 2),
    "layer below 0": Sites.pack(-1, MLP, -1, 2),
    "layer past the final residual stream": Sites.pack(4, 0, -1, 2),
    "head": Sites.pack(0, HEAD, 4, 2),
    "unit of a whole": Sites.pack(0, MLP, 0, 2),
    "position": Sites.pack(0, MLP, -1, 6),  # with several tokens there is one: the answer's
    "position not resolved": Sites.pack(0, MLP, -1, -1),
    "one site of a joint set": Sites.pack(0, MLP, -1, [2, 9], sizes=[2]),
    "edit": Sites.pack(0, MLP, -1, 2, 1),
}


def answer(bench: Bench, sites: Sites, edit=ZERO, readout=READOUTS[0]) -> np.ndarray:
    ((chunk,),) = bench.run([Sweep(run(6), None, "damage", (edit,), sites, readout)])
    return chunk.values


@pytest.mark.parametrize("readout", READOUTS, ids=["one token", "several tokens"])
@pytest.mark.parametrize("path", ["packed", "plain"])
@pytest.mark.parametrize("what", OUTSIDE)
def test_a_site_outside_the_model_or_the_prompt_is_refused(tiny_llama, what, path, readout):
    with pytest.raises(BadSite, match="outside the model or the 6 tokens of"):
        answer(Bench(tiny_llama, path), OUTSIDE[what], readout=readout)


@pytest.mark.parametrize("edit", [Patch, Resample])
@pytest.mark.parametrize("length", [5, 7])
def test_a_source_of_another_length_is_refused(tiny_llama, edit, length):
    with pytest.raises(BadPrompt, match="equal length"):
        answer(Bench(tiny_llama), Sites.pack(0, MLP, -1, 2), edit(run(length)))


@pytest.mark.parametrize("edit", [Add, Constant, ProjectOut])
@pytest.mark.parametrize("width", [1, 4, 17])
def test_a_vector_of_another_width_is_refused(tiny_llama, edit, width):
    with pytest.raises(BadSite, match=rf"a vector of {width} numbers for sites \[16\] wide"):
        answer(Bench(tiny_llama), Sites.pack(0, MLP, -1, 2), edit(np.ones(width, "<f4").tobytes()))


@pytest.mark.parametrize("token", [VOCABULARY, 10**6, -1])
def test_a_token_that_the_model_does_not_embed_is_refused(tiny_llama, token):
    bench, clean = Bench(tiny_llama), run(6)
    beyond = msgspec.structs.replace(clean, tokens=(*clean.tokens[:5], token))
    asked = Sweep(clean, None, "damage", (ZERO,), Sites.pack(0, MLP, -1, 2), READOUTS[0])
    for sweep in (
        msgspec.structs.replace(asked, clean=beyond),
        msgspec.structs.replace(asked, corrupt=beyond),
        msgspec.structs.replace(asked, edits=(Resample(beyond),)),
        msgspec.structs.replace(asked, readout=LogitDifference((5, token), (7,))),
        msgspec.structs.replace(asked, readout=LogitDifference((5,), (token,))),
    ):
        with pytest.raises(BadPrompt, match=f"has token {token}, and the model embeds {VOCABULARY}"):
            list(bench.run([sweep]))
    with pytest.raises(BadPrompt, match=f"has token {token}"):
        bench.read([beyond], [Site(0, "mlp")])


def test_what_fits_is_not_refused(tiny_llama):
    a = tiny_llama.anatomy
    ends = [[Site(a.layers, "resid", None, 5)], [Site(0, "head", a.heads - 1, 0)], [Site(0, "neuron", a.neurons - 1)]]
    sweep = Sweep(run(6), None, "damage", (Zero(),), Sites.of(ends), READOUTS[0])
    planner.check(sweep, a)
    planner.check(msgspec.structs.replace(sweep, sites=Sites.of([])), a)


@pytest.mark.parametrize("site", [Site(9, "resid"), Site(3, "mlp"), Site(0, "head", 4)], ids=str)
def test_reading_outside_the_model_is_refused(tiny_llama, site):
    with pytest.raises(BadSite, match=f"site {site}"):
        Bench(tiny_llama).read([run(6)], [site])


def test_the_tiny_numbers_above_are_those_of_the_model(tiny_llama):
    a = tiny_llama.anatomy
    assert (a.layers, a.heads, a.width, a.vocabulary) == (3, 4, WIDTH, VOCABULARY)
