"""Compiled programs: our engine says what Tracr said, and exact effects find the compiled circuit."""

import numpy as np
import pytest
from model import PROGRAMS, open_program
from nodes import attributed, auroc, exact, pairs

from lashley.engine.selftest import checked


@pytest.fixture(params=PROGRAMS)
def program(request):
    return open_program(request.param)


def test_at_least_five_programs_are_there():
    assert {"reverse", "sort", "fraction", "histogram", "majority"} <= {*PROGRAMS}


def test_a_program_answers_as_it_was_compiled(program):
    for example in program.examples:
        answers = program.answers(program.run(example["input"]))
        if program.numerical:
            np.testing.assert_allclose(answers, example["output"], atol=1e-4)
        else:
            assert answers == example["output"]


def test_the_engine_reads_its_sites_where_they_are(program):
    assert checked(program.bench.model).path == "plain"


def test_exact_effects_tell_the_circuit_from_decoys(program):
    asked = pairs(program)
    by = [exact(program, asked, edit) for edit in ("resample", "zero")]
    scores = {node: by[0][node] + by[1][node] for node in program.used}
    assert 0 < sum(program.used.values()) < len(program.used)
    assert auroc(scores, program.used) >= 0.98


@pytest.mark.parametrize("method", ["eap", "eap-ig"])
def test_edges_of_decoys_score_nothing_by_gradients(program, method):
    """Gradients may miss nodes of the circuit (where a program compares hard, they vanish), but invent none."""
    scores = attributed(program, pairs(program, n=8), method)
    inside = max(scores[node] for node, true in program.used.items() if true)
    outside = max(scores[node] for node, true in program.used.items() if not true)
    assert outside <= 1e-5 * max(inside, 1e-3)
