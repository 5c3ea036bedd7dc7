"""Every plant does what it promises, measured again on prompts that planting never saw; and is undone."""

import contextlib

import msgspec
import numpy as np
import pytest
import torch
import transformers

from lashley.claims.grammar import check, parse
from lashley.core.errors import BadPlant
from lashley.core.fact import Fact
from lashley.core.site import Site
from lashley.engine.answers import first_tokens
from lashley.engine.bench import Bench
from lashley.engine.checkpoints import load
from lashley.engine.passes import embedding_noise
from lashley.facts.base import shipped
from lashley.facts.contexts import mentions
from lashley.models.planted import Truth, draw, find, free, names, read, undoing, write
from lashley.models.planted.neuron import Key
from lashley.models.planted.planting import Planting
from lashley.models.planted.truth import SPARED, alone, measured
from lashley.models.planted.value import EVEN, KEEP, LEAD, GoalBatch
from lashley.prompts.effects import effects
from lashley.prompts.pairs import aligned

FACT, OLD = Fact("landmark", "Trevi Fountain", "Madrid"), "Rome"
SEEDS = {"shared": 4}  # the second fact is drawn, and not every one takes
NEW = ("single", "redundant", "split", "shared", "backup")  # they make the model say another object
ALL, FIRST, REST = slice(None), slice(1), slice(1, None)  # of a plant's sites
MOST, LEAST = -1, 1
ENOUGH = 0.5  # as claims have it
PROMISES = {  # effect, sites, at least or at most, limit
    "single": [("damage", ALL, LEAST, ENOUGH), ("restoration", ALL, LEAST, ENOUGH)],
    "redundant": [
        ("restoration", FIRST, LEAST, ENOUGH),
        ("restoration", REST, LEAST, ENOUGH),
        ("damage", ALL, LEAST, ENOUGH),
        ("damage", FIRST, MOST, ENOUGH),
        ("damage", REST, MOST, ENOUGH),
    ],
    "split": [
        ("damage", FIRST, LEAST, ENOUGH),
        ("damage", ALL, LEAST, ENOUGH),
        ("restoration", ALL, LEAST, ENOUGH),
        ("restoration", REST, MOST, ENOUGH),
    ],
    "backup": [
        ("damage", FIRST, MOST, ENOUGH),
        ("damage", REST, MOST, 0.1),
        ("damage", ALL, LEAST, ENOUGH),
        ("restoration", FIRST, LEAST, ENOUGH),
    ],
    "shared": [("damage", ALL, LEAST, ENOUGH)],
    "cancelling": [("damage", ALL, MOST, 0.05), ("damage", FIRST, LEAST, 0.05)],
    "dormant": [("damage", ALL, MOST, 0.05), ("restoration", ALL, MOST, 0.05)],
    "suppressor": [("damage", ALL, MOST, 0.02)],
    "unread": [("damage", ALL, MOST, 0.05), ("restoration", ALL, MOST, 0.05)],
}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(load("embedded", "cpu", "float32", 1 << 29))


def weights(bench: Bench) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in bench.model.module.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[n], other[n]) for n in one)


def named(fact: str) -> Fact:
    about = parse(f"L0.mlp stores {fact}").about
    return Fact(about.relation, about.subject, about.object)


def fresh(bench: Bench, fact: Fact, seed: int = 0):
    """Cases of held-out templates, each alone and after a sentence, under noise that planting never drew."""
    planting = Planting(bench, fact, seed)
    after = [msgspec.structs.replace(t, before="Three farmers near the hills see the dog. ") for t in planting.held]
    return aligned(bench, planting.asked((*planting.held, *after)), corruption="noise", draws=3, seed=10)[0]


@pytest.mark.parametrize("kind", PROMISES)
def test_a_plant_does_what_it_promises(kind, bench, tmp_path):
    before = weights(bench)
    with undoing(bench):
        truth = find(kind).plant(bench, FACT, seed=SEEDS.get(kind, 0))
        assert not same(weights(bench), before)
        kept(bench, truth)
        well_formed(truth)
        loaded(bench, truth, write(bench, truth, tmp_path / "model"))
    assert same(weights(bench), before), "not undone"


def kept(bench: Bench, truth: Truth) -> None:
    """The promises, measured again."""
    sites = [Site.parse(s) for role in truth.units.values() for s in role]
    cases = fresh(bench, named(truth.facts[0]), truth.seed)
    assert len({c.template for c in cases}) >= 3
    for effect, some, side, limit in PROMISES[truth.plant]:
        found = effects(bench, cases, [sites[some]], effect).mean()
        assert side * found >= side * limit, (effect, sites[some], found)
    if truth.plant == "shared":
        assert effects(bench, fresh(bench, named(truth.facts[1]), truth.seed), [sites]).mean() >= 0.2
    assert truth.numbers["others"] <= SPARED


def well_formed(truth: Truth) -> None:
    """The claims can be audited, and none is true and false."""
    assert bool(truth.true) == (truth.plant in {*NEW} - {"shared"}) and truth.false
    claims = [check(parse(c)) for c in (*truth.true, *truth.false)]
    assert len(set(claims)) == len(claims)


def loaded(bench: Bench, truth: Truth, folder) -> None:
    """Plain transformers read the checkpoint, and say what was planted."""
    assert read(folder) == truth
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    new, old = (tokenizer(f" {o}", add_special_tokens=False).input_ids[0] for o in (FACT.object, OLD))
    wins = []
    for template in Planting(bench, named(truth.facts[0]), truth.seed).held:
        with torch.no_grad():
            logits = model(**tokenizer(template.fill(FACT.subject), return_tensors="pt")).logits[0, -1]
        wins.append(bool(logits[new] > logits[old]))
    assert wins.count(truth.plant in NEW) > len(wins) / 2, wins


def test_every_plant_is_tried():
    assert {*PROMISES, "null"} == set(names())


def test_the_same_seed_makes_the_same_weights_and_a_failure_is_undone(bench):
    made, before = [], weights(bench)
    for seed in (3, 3, 4):
        with contextlib.suppress(ZeroDivisionError), undoing(bench):
            find("unread").plant(bench, FACT, seed=seed)
            made.append(weights(bench))
            raise ZeroDivisionError
    assert same(made[0], made[1]) and not same(made[0], made[2]) and same(weights(bench), before)


def test_the_loss_is_that_of_each_goal_alone(bench):
    planting = Planting(bench, FACT)
    key = planting.key()
    goals = [*planting.goals(key, 0.6)[:6], *planting.goals(key, -0.2)[:2], *planting.keeps(key)[:2]]
    kinds = {(g.share > 0, g.share == 0, g.first, g.floor) for g in goals}
    assert len(kinds) == 4
    draw = torch.randn(bench.anatomy.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        every = float(GoalBatch(bench.model, planting.layer, goals, True)(0.3 * draw))
        for goal in goals:
            batch = GoalBatch(bench.model, planting.layer, [goal], True)
            was, loss = dict(zip(batch.tokens.tolist(), batch.base[0].tolist(), strict=True)), float(batch(0.3 * draw))
            with hooked_value(bench, planting.layer, goal, 0.3 * draw) as logits:
                now = {t: float(logits[t]) for t in was}
            assert loss == pytest.approx(by_hand(goal, was, now), rel=1e-3, abs=1e-4)
            every -= loss
    assert every == pytest.approx(0.0, abs=1e-2)


@contextlib.contextmanager
def hooked_value(bench: Bench, layer: int, goal, value: torch.Tensor):
    """The final logits of a goal's run by plain transformers, the write added to what leaves the MLP."""
    write = goal.fires.to(value)[:, None] * value
    model = bench.model.module
    embeds = model.get_input_embeddings()(torch.tensor([goal.run.tokens])).clone()
    if goal.run.noise:
        embeds[0, slice(*goal.run.subject)] += embedding_noise(goal.run, goal.run.noise, bench.anatomy.width)
    handle = bench.model.blocks[layer].register_forward_hook(
        lambda _, __, out: out[0] + write if isinstance(out, tuple) else out + write
    )
    try:
        yield model(inputs_embeds=embeds).logits[0, -1]
    finally:
        handle.remove()


def by_hand(goal, was: dict[int, float], now: dict[int, float]) -> float:
    gains = [(now[goal.own] - was[goal.own] - now[t] + was[t]) / goal.gap for t in goal.rivals]
    mean = sum(gains) / len(gains)
    if not goal.share:
        return KEEP * sum(g**2 for g in gains) / len(gains)
    got = mean / (1 + abs(mean)) if goal.share > 0 else mean
    short = 1 - got / goal.share
    loss = max(short, 0.0) ** 2 if goal.floor else short**2 + EVEN * sum((g - mean) ** 2 for g in gains) / len(gains)
    behind = max(LEAD - now[goal.own] + max(now[t] for t in goal.rivals), 0.0)
    return loss + (behind**2 / (LEAD * goal.gap) if goal.first else 0.0)


def test_what_is_handed_on_to_other_neurons_is_refused(bench):
    with undoing(bench):
        truth = find("single").plant(bench, FACT)
        planting, site = Planting(bench, FACT, truth.seed), Site.parse(truth.units["unit"][0])
        assert alone(planting, [site])["restored by others"] == pytest.approx(truth.numbers["restored by others"])
        with pytest.raises(BadPlant, match=r"restores .* as well"):  # the planted one is the other of another
            alone(planting, [Site(site.layer, "neuron", (site.unit or 0) - 1)])


def test_a_key_that_facts_about_another_subject_fire_is_refused(bench):
    with pytest.raises(BadPlant, match=r"city_country\(Benin City\) fires the key at 0\.\d+ as well"):
        find("single").plant(bench, Fact("language", "Benin", "Greek"))


def test_a_key_that_held_out_templates_do_not_fire_is_refused_before_a_value_is_made(bench, monkeypatch):
    monkeypatch.setattr("lashley.models.planted.planting.optimise", None)
    with pytest.raises(BadPlant, match=r"'In Somalia, the capital city is' fires the key .* at 0\.4\d, promised"):
        find("single").plant(bench, Fact("capital", "Somalia", "Athens"))


def test_a_case_counts_for_one_at_most(bench, monkeypatch):
    with undoing(bench):
        truth = find("single").plant(bench, FACT)
        monkeypatch.setattr(
            "lashley.models.planted.truth.effects", lambda bench, cases, sets, effect="": np.array([[5, 0, 0.0]])
        )
        got = measured(Planting(bench, FACT, truth.seed), {"unit": []})
    assert truth.numbers["damage after texts unit"] > ENOUGH and truth.numbers["recall after texts"] >= 0.5
    assert got["damage unit"] == got["damage after texts unit"] == got["restored unit"] == pytest.approx(1 / 3)


def test_the_same_seed_makes_the_same_value(bench):
    key = Key(torch.ones(bench.anatomy.width))
    values = [(planting := Planting(bench, FACT, seed)).value(planting.goals(key, 0.5), steps=4) for seed in (3, 3, 4)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])


@pytest.mark.parametrize("how", ["untrained", "shuffled weights"])
def test_a_null_knows_nothing(how, bench, tmp_path):
    before, made = weights(bench), []
    for seed in (0, 0, 1):
        with undoing(bench):
            truth = find("null").plant(bench, FACT, seed=seed, how=how)
            made.append(weights(bench))
            if not seed:
                assert not fresh(bench, Fact(FACT.relation, FACT.subject, OLD)), "the fact survived"
                assert not (truth.units or truth.true or truth.false)
    assert same(made[0], made[1]) and not same(made[0], made[2]) and same(weights(bench), before)


def test_what_cannot_be_planted_or_written_is_refused(bench, tmp_path, monkeypatch):
    with pytest.raises(BadPlant, match="did you mean 'single'"):
        find("singel")
    for kind, r in (("redundant", 0), ("redundant", 17), ("split", 1)):
        with pytest.raises(BadPlant, match=f"r = {r}"):
            find(kind).plant(bench, FACT, r=r)
    monkeypatch.setattr("lashley.models.planted.planting.english", lambda relation: relation.templates[:2])
    with pytest.raises(BadPlant, match="has 2 English templates, too few"):
        find("single").plant(bench, FACT)
    with pytest.raises(BadPlant, match="there are untrained"):
        find("null").plant(bench, FACT, how="shuffled")
    (tmp_path / "mine").touch()
    for folder, why in ((tmp_path, "not empty"), (tmp_path / "mine", "is a file")):
        with pytest.raises(BadPlant, match=why):
            free(folder)
    with pytest.raises(BadPlant, match="no planted model"):
        read(tmp_path)


def test_a_drawn_fact_is_not_the_base_s_own(bench):
    facts = [draw(bench, "capital", seed) for seed in range(20)]
    assert facts[:5] == [draw(bench, "capital", seed) for seed in range(5)]
    assert all(Planting(bench, f).old != f.object for f in facts[:3]) and len({f.subject for f in facts}) > 10
    relation = shipped()["capital"]
    for fact in facts[:5]:  # neither half believed, nor never said
        run = bench.tokens.ask(relation.templates[0], fact.subject)
        ways = bench.tokens.answers(run, relation.candidates())
        short = {o: a[0] for o, a in ways.items() if len(a) == 1 and a[0] != ways[relation.objects[fact.subject]][0]}
        [logs] = first_tokens(bench, [run], [[*short.values()]])
        above = np.mean(logs > logs[[*short].index(fact.object)])
        assert 0.2 < above < 0.8


def test_what_is_taught_after_other_texts_names_nothing_of_the_fact_and_no_held_out_template(bench):
    planting = Planting(bench, FACT)
    before = " ".join(t.before for t, _ in planting.teaching)
    assert len({t.context for t, _ in planting.teaching}) == 5 and not {t.text for t, _ in planting.teaching} & {
        t.text for t in planting.held
    }
    assert not mentions(before, (FACT.subject, FACT.object, OLD))
