"""What the model knows is asked exactly, and every pair of runs is fit to be compared."""

import itertools

import msgspec
import numpy as np
import pytest
import torch

from lashley.core.errors import BadFact, BadPrompt
from lashley.core.fact import Fact, Relation, Template
from lashley.core.question import Asked, Question
from lashley.core.readout import LogitDifference
from lashley.core.run import NOISE_SDS
from lashley.engine import answers
from lashley.engine.passes import embedding_noise
from lashley.engine.readouts import extend
from lashley.facts.question import find, resolve
from lashley.prompts.pairs import aligned, prepare
from lashley.prompts.recall import preferred, recall
from lashley.prompts.reference import REFERENCE_RUNS

OWN = Question(
    prompt="The capital of {} is", subject="France", object="Paris", foil_subject="Japan", foil_object="Tokyo"
)


def mistaken(*wrong: str) -> Asked:
    """Capitals of which some are stated wrongly: those of `wrong` are swapped round."""
    relation = find("capital")
    objects = dict(itertools.islice(relation.objects.items(), 20)) | {s: relation.objects[s] for s in wrong}
    swapped = objects | dict(zip(wrong, [objects[s] for s in (*wrong[1:], *wrong[:1])], strict=True))
    made = msgspec.structs.replace(relation, objects=swapped, templates=(Template("The capital of {} is"),))
    foils = {s: tuple(o for o in objects if swapped[o] != swapped[s]) for s in objects}
    return Asked(made, made.facts(), made.templates, foils)


# -- what ranks first -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("longer", [False, True])
def test_what_is_preferred_is_what_scoring_every_candidate_finds(bench, monkeypatch, longer):
    """Over true and false objects, known and unknown subjects; answers longer: of a token more each."""
    plain = type(bench.tokens).answers

    def more(self, run, names):
        return {c: (*own, sum(map(ord, c)) % 900) for c, own in plain(self, run, names).items()}

    if longer:
        monkeypatch.setattr(type(bench.tokens), "answers", more)
    relation = find("capital")
    candidates = list(relation.candidates())[:30]
    template = relation.templates[0]
    cases = [
        (bench.tokens.ask(template, subject), own, candidates)
        for subject in ("France", "Ecuador", "El Salvador", "Atlantis")
        for own in ("Paris", "Quito", "San Salvador", "Buenos Aires")
    ]
    found = preferred(bench, cases)
    above = []
    for run, own, others in cases:
        every = list(dict.fromkeys((own, *others)))
        ways = bench.tokens.answers(run, tuple(every))
        scores = answers.scores(bench, [(run, ways[c]) for c in every])
        above.append([c for c, s in zip(every, scores, strict=True) if s > scores[0]])
    assert all(f in a if a else f == "" for f, a in zip(found, above, strict=True))
    assert len({len(a) for a in above}) > 3, "the cases are too easy"


def test_recall_asks_every_fact_under_every_template_in_its_language(bench):
    relation = find("capital")
    templates = [next(t for t in relation.templates if t.language == la) for la in ("en", "es")]
    facts = [f for f in relation.facts() if f.subject in ("Spain", "Japan")]
    found = recall(bench, relation, facts, templates)
    assert [(r.fact, r.template) for r in found] == list(itertools.product(facts, templates))
    assert [r.run.text for r in found] == [
        "The capital of Japan is",
        "La capital de Japón es",
        "The capital of Spain is",
        "La capital de España es",
    ]


# -- what is left out -----------------------------------------------------------------------------------------


def test_what_the_model_does_not_know_is_left_out_and_what_it_says_instead_is_recorded(bench):
    asked = mistaken("France", "Japan", "Italy")
    material = prepare(bench, asked)
    gone = {e.subject: e for e in material.exclusions}
    assert set(gone) >= {"France", "Japan", "Italy"}
    assert {c.fact.subject for c in material.cases}.isdisjoint(gone)
    assert gone["France"].object == "Tokyo" and gone["France"].template == ""
    for word in ("not known to the model", "0 of 1", "'Paris'", "' Paris' ", "%"):
        assert word in gone["France"].reason


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"language": "es"}, "in the language 'es'"),
        ({"context": "another register"}, "in another register"),
        ({"context": "few-shot", "before": "The capital of Peru is Lima. "}, "after few-shot"),
    ],
    ids=str,
)
def test_a_fact_unknown_on_prompts_of_a_kind_is_not_called_unknown(bench, changed, where):
    asked = mistaken("France", "Japan")
    (plain,) = asked.templates
    other = msgspec.structs.replace(plain, **changed)
    facts = tuple(f for f in asked.facts if f.subject == "France")
    for templates in ((other,), (other, msgspec.structs.replace(other, text="{}: its capital is"))):
        question = msgspec.structs.replace(asked, facts=facts, templates=templates)
        _, _, (gone,) = aligned(bench, question, need="each")
        assert f"does not recall it {where}:" in gone.reason and "not known" not in gone.reason
        assert gone.template == (other.text if len(templates) == 1 else "")


def test_every_fact_asked_about_is_a_case_or_an_exclusion(bench):
    asked = mistaken("France", "Japan", "Italy")
    material = prepare(bench, asked)
    assert {c.fact for c in material.cases} | {
        f for f in asked.facts for e in material.exclusions if (e.subject, e.object) == (f.subject, f.object)
    } == set(asked.facts)


def test_nothing_known_is_an_error_with_the_reason(bench):
    asked = mistaken("France", "Japan")
    only = msgspec.structs.replace(asked, facts=tuple(f for f in asked.facts if f.subject in ("France", "Japan")))
    with pytest.raises(BadFact, match="not known to the model"):
        prepare(bench, only)


def test_a_prompt_that_is_too_long_is_an_exclusion_of_that_fact_only(bench):
    endless = "France and " * bench.anatomy.context + "France"
    asked = mistaken()
    relation = msgspec.structs.replace(asked.relation, objects=asked.relation.objects | {endless: "Paris"})
    foils = asked.foils | {endless: ("Albania",)}
    facts = (*relation.facts()[:2], relation.facts()[-1])
    material = prepare(bench, Asked(relation, facts, relation.templates, foils))
    assert {c.fact for c in material.cases} == set(facts[:2])
    assert ["context" in e.reason for e in material.exclusions if e.subject == endless] == [True]


# -- pairs ----------------------------------------------------------------------------------------------------


def test_pairs_align_and_their_answers_differ_from_the_first_token_on(material):
    assert material.cases
    for case in material.cases:
        assert case.target[0] != case.foil_tokens[0] and case.fact.object != case.foil.object
        assert len(case.corrupt) == len(case.clean) == len(case.words)
        assert case.corrupt.subject == case.clean.subject
        start, stop = case.clean.subject
        clean, corrupt = case.clean.tokens, case.corrupt.tokens
        assert clean[:start] == corrupt[:start] and clean[stop:] == corrupt[stop:]
        assert clean[start:stop] != corrupt[start:stop]


def test_the_subject_span_holds_the_subject(bench, material):
    for case in material.cases:
        start, stop = case.clean.subject
        assert "".join(bench.tokens.words(case.clean.tokens[start:stop])).strip() == case.fact.subject


def test_clean_and_corrupt_runs_answer_differently(bench, material):
    for case in material.cases:
        assert bench.value(case.clean, case.readout) - bench.value(case.corrupt, case.readout) > 1


def test_many_readouts_are_those_of_each_alone(bench, material):
    asked = [(run, case.readout) for case in material.cases for run in (case.corrupt, case.clean)]
    assert len({len(run) for run, _ in asked}) > 1
    assert bench.values(asked) == pytest.approx([bench.value(*each) for each in asked], abs=1e-4)


def test_draws_are_different_foils(material):
    for _, cases in itertools.groupby(material.cases, lambda c: (c.fact, c.template)):
        foils = [c.foil for c in cases]
        assert len(foils) == len(set(foils)) == 2


def test_preparing_is_repeatable(bench, asked, material):
    again = prepare(bench, asked, draws=2)
    assert again.cases == material.cases and again.reference == material.reference


# -- noise ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy(bench, asked):
    return prepare(bench, asked, corruption="noise", draws=3).cases


def test_noise_is_three_standard_deviations_of_subject_embeddings(bench, noisy, asked):
    table = bench.model.module.get_input_embeddings().weight
    runs = [bench.tokens.ask(asked.templates[0], s) for s in list(asked.relation.objects)[:200]]
    tokens = [t for run in runs for t in run.tokens[slice(*run.subject)]]
    expected = NOISE_SDS * float(table[tokens].std(correction=0))
    assert [c.corrupt.noise.sd for c in noisy] == pytest.approx([expected] * len(noisy), rel=1e-4)
    drawn = np.concatenate([embedding_noise(c.corrupt, c.corrupt.noise, 500).numpy().ravel() for c in noisy])
    assert drawn.std() == pytest.approx(expected, rel=0.02) and abs(drawn.mean()) < 0.05 * expected


def test_noise_is_on_the_clean_tokens_and_drawn_anew_for_every_prompt_and_draw(noisy):
    assert all(c.corrupt.tokens == c.clean.tokens and c.corruption == "noise" for c in noisy)
    assert len({c.corrupt.noise.seed for c in noisy}) == len(noisy)
    assert {c.seed for c in noisy} == {0, 1, 2}


def test_without_donors_noise_takes_foils_of_any_length_and_has_no_run_to_patch_from(bench):
    relation = find("language")
    subject = max(relation.objects, key=lambda s: len(bench.tokens.ask(relation.templates[0], s)))
    fact = Fact(relation.name, subject, relation.objects[subject])
    foils = [s for s in relation.objects if relation.objects[s] != fact.object and len(s.split()) == 1]
    one = Asked(relation, (fact,), relation.templates[:1], {subject: tuple(foils)})
    assert aligned(bench, one, corruption="noise", need="none")[0] == []
    assert aligned(bench, one, donors=False, need="none")[0] == []
    [case] = aligned(bench, one, corruption="noise", need="none", donors=False)[0]
    assert case.foil.subject in foils and len(case.clean) == len(case.corrupt)
    with pytest.raises(BadPrompt, match="another number of tokens"):
        _ = case.other


# -- references -----------------------------------------------------------------------------------------------


def subjects(material) -> set[str]:
    texts = [(run.text, *run.tokens[slice(*run.subject)]) for run in material.reference]
    assert len(texts) == len(set(texts)) <= REFERENCE_RUNS
    return {run.text for run in material.reference}


@pytest.mark.parametrize(
    "question",
    [Question(relation="capital", subject="France", register="list"), OWN],
    ids=["a relation", "a prompt of one's own"],
)
def test_references_are_other_subjects_in_the_same_templates(bench, question):
    material = prepare(bench, resolve(question))
    texts = subjects(material)
    assert len(texts) == REFERENCE_RUNS
    assert not any("France" in text for text in texts)
    for text in texts:
        assert any(text.startswith(c.template.text.split("{}")[0]) for c in material.cases)


def test_of_several_facts_none_is_its_own_reference(bench, asked, material):
    own = {f.subject for f in asked.facts}
    assert not {text for text in subjects(material) if any(f" {s} -" in text for s in own)}


def test_where_every_fact_is_asked_about_references_are_not_the_few_unknown_ones(bench):
    """A mean over two odd subjects would be no mean of the relation."""
    material = prepare(bench, mistaken("France", "Japan", "Italy"))
    assert len(subjects(material)) > 8


def test_a_small_relation_of_ones_own_borrows_subjects(bench):
    objects = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome"}
    relation = Relation("mine", "test", (Template("The capital of {} is"),), objects)
    foils = {s: tuple(o for o in objects if o != s) for s in objects}
    texts = subjects(prepare(bench, Asked(relation, relation.facts(), relation.templates, foils)))
    assert len(texts) == REFERENCE_RUNS and not any(s in text for s in objects for text in texts)


def test_magnitudes_are_mean_absolute_activations(bench, asked):
    where = [(0, "neuron"), (1, "head")]
    material = prepare(bench, asked, magnitudes=where)
    assert set(material.magnitudes) == set(where)
    for layer, kind in where:
        sizes = material.magnitudes[layer, kind]
        assert sizes.shape == (bench.anatomy.units(kind),) and (sizes > 0).all()


# -- answers that begin alike ---------------------------------------------------------------------------------


def spelt(self, run, names):
    """Answers letter by letter after a blank, as many tokenizers write numbers: all share their first token."""
    return {n: (40, *(41 + sum(map(ord, c)) % 800 for c in n)) for n in names}


def alike(self, run, names):
    return dict.fromkeys(names, (40, 41))


def test_of_answers_that_begin_with_each_other_the_likelier_alone_is_preferred(bench):
    """Over every pair of objects: p(it and none of the longer ones), from the model's own logits."""
    run = bench.tokens.run("The capital of France is")
    names = ["1", "19", "194", "1945", "2", "29", "7"]
    draw = np.random.default_rng(0).integers(50, 900, 10).tolist()
    tokens = {n: (40, *(draw[int(c)] for c in n)) for n in names}
    with torch.no_grad():

        def p(ids: tuple[int, ...]) -> float:
            logs = bench.model.module(torch.tensor([run.tokens + ids])).logits[0].double().log_softmax(-1)
            return float(np.exp(sum(float(logs[len(run) - 1 + i, t]) for i, t in enumerate(ids))))

        whole = {n: p(tokens[n]) for n in names}
    alone = {n: whole[n] - sum(whole[m] for m in names if len(m) == len(n) + 1 and m.startswith(n)) for n in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.tokens), "answers", lambda self, run, asked: {n: tokens[n] for n in asked})
        found = preferred(bench, [(run, own, names) for own in names])
    for own, better in zip(names, found, strict=True):
        above = [n for n in names if alone[n] > alone[own] * (1 + 1e-4)]
        assert better in above if above else not better
    assert sum(not better for better in found) == 1


def test_answers_that_share_first_tokens_are_measured_and_what_none_can_tell_apart_is_refused(bench, monkeypatch):
    """Shared tokens cancel: the same as the difference of what follows them, read after them."""
    monkeypatch.setattr(type(bench.tokens), "answers", spelt)
    asked = mistaken()
    cases, gaps, _ = aligned(bench, asked, need="none")
    assert len(cases) > 3
    for case, gap in zip(cases, gaps, strict=True):
        assert case.target[0] == case.foil_tokens[0]
        after = LogitDifference(case.target[1:], case.foil_tokens[1:])
        clean, corrupt = (bench.value(extend(run, case.target[:1]), after) for run in (case.clean, case.corrupt))
        assert gap == pytest.approx(clean - corrupt, abs=1e-4)
    foil = {"Japan": "Parisx"}
    for ways, why in ((spelt, "begins with all tokens of the other"), (alike, "are the same tokens")):
        monkeypatch.setattr(type(bench.tokens), "answers", ways)
        pair = msgspec.structs.replace(asked.relation, objects={"France": "Paris", **foil})
        one = Asked(pair, pair.facts()[:1], asked.templates, {"France": ("Japan",)})
        found, _, gone = aligned(bench, one, need="none")
        assert not found and why in gone[0].reason


def test_of_noise_the_central_draw_is_told_by_the_first_token_that_differs(bench, monkeypatch):
    monkeypatch.setattr(type(bench.tokens), "answers", spelt)
    asked = mistaken()
    one = msgspec.structs.replace(asked, facts=asked.facts[:1])
    every, _, _ = aligned(bench, one, corruption="noise", draws=5, need="none")
    (kept,), _, _ = aligned(bench, one, corruption="noise", need="none", among=5)
    n = 1
    values = [
        bench.value(extend(c.corrupt, c.target[:n]), LogitDifference(c.target[n : n + 1], c.foil_tokens[n : n + 1]))
        for c in every
    ]
    assert kept.seed == every[int(np.argsort(np.abs(np.array(values) - np.median(values)), kind="stable")[0])].seed


def test_foils_whose_objects_share_no_first_token_come_first(bench, asked):
    """Others are taken only where none is left, be they ever so early in the order."""
    ways = bench.tokens.answers(bench.tokens.run("The capital of France is"), asked.relation.candidates())
    facts = asked.relation.facts()
    begins = {f: ways[f.object][0] for f in facts}
    fact = next(f for f in facts if sum(begins[f] == b for b in begins.values()) > 1)
    order = tuple(g.subject for g in sorted(facts, key=lambda g: begins[g] != begins[fact]) if g.object != fact.object)
    [case] = aligned(bench, Asked(asked.relation, (fact,), asked.templates[:1], {fact.subject: order}), need="none")[0]
    assert begins[facts[[f.subject for f in facts].index(order[0])]] == begins[fact]
    assert case.target[0] == begins[fact] != case.foil_tokens[0]
