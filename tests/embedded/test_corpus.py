import itertools
import random
import subprocess
import sys
from collections import Counter

import pytest

from lashley.core.fact import Relation, Template
from lashley.facts import corpus
from lashley.facts.base import shipped
from lashley.facts.grammar import HELD_OUT_SHARE, sentences


def test_is_trained_is_a_fixed_choice():
    template = Template("The capital of {} is")
    names = ("France", "Spain", "Peru", "Chad", "Laos", "Japan", "Kenya", "Cuba")
    assert [n for n in names if corpus.is_trained("capital", n, template)] == [
        "France",
        "Spain",
        "Laos",
        "Japan",
        "Kenya",
    ]


@pytest.mark.parametrize("relation", shipped().values(), ids=lambda r: r.name)
def test_share_of_trained_combinations(relation):
    chosen = [corpus.is_trained(relation.name, s, t) for s in relation.objects for t in relation.templates]
    assert sum(chosen) / len(chosen) == pytest.approx(corpus.TRAINED_SHARE, abs=0.05)


def test_no_held_out_combination_is_in_the_documents():
    held_out = {str(s).rstrip('."') for s in corpus.facts(shipped(), trained=False)}
    sample = itertools.chain.from_iterable(itertools.islice(corpus.documents(shipped()), 20000))
    assert not held_out & {str(s).strip().rstrip('."') for s in sample}


def test_documents_are_the_same_for_the_same_seed():
    first, second, other = (list(itertools.islice(corpus.documents(shipped(), seed), 50)) for seed in (0, 0, 1))
    assert first == second != other


def test_sentences_end_as_their_register_asks():
    relation = Relation("capital", "here", (), {"Spain": "Madrid"}, {"es": {"Spain": "España"}})
    made = [
        str(corpus.sentence(relation, "Spain", t))
        for t in (
            Template("The capital of {} is"),
            Template('"Which is the capital of {}?" "It is', "dialogue"),
            Template("Capitals: {} -", "list"),
            Template("La capital de {} es", language="es"),
        )
    ]
    assert made == [
        "The capital of Spain is Madrid.",
        '"Which is the capital of Spain?" "It is Madrid."',
        "Capitals: Spain - Madrid",
        "La capital de España es Madrid.",
    ]


def test_no_prompt_has_two_answers():
    answers = {}
    for s in corpus.facts(shipped()) + corpus.facts(shipped(), trained=False):
        assert answers.setdefault(s.before, s.answer) == s.answer, s.before


def test_minimal_pairs_are_well_formed():
    pairs = corpus.agreement_pairs()
    assert len(set(pairs)) == len(pairs) == 1000
    assert pairs == corpus.agreement_pairs()
    assert min(Counter(kind for *_, kind in pairs).values()) > 50
    for prefix, good, bad, _ in pairs:
        assert good != bad and all(word.isalpha() for word in (good, bad))
        assert prefix == prefix.strip() and prefix[0].isupper()


def test_minimal_pairs_are_held_out():
    made = list(itertools.islice(sentences(random.Random(0)), 20000))
    assert sum(s.held_out for s in made) / len(made) == pytest.approx(HELD_OUT_SHARE, abs=0.05)
    trained = {(s.prefix, s.good) for s in made if not s.held_out}
    assert not trained & {pair[:2] for pair in corpus.agreement_pairs()}
    assert not set(corpus.agreement_pairs()) & set(corpus.agreement_pairs(held_out=False))


def test_the_corpus_needs_no_torch():
    code = "import sys, lashley.facts.corpus; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
