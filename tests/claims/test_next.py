"""What is worth measuring next: what settles most comes first, what no run can settle last."""

import shlex
from dataclasses import asdict

import msgspec
import pytest

from lashley.claims.grammar import parse
from lashley.claims.verdicts import judge, untestable
from lashley.cli import app as cli
from lashley.core.question import Question
from lashley.experiments.audit import Params
from lashley.experiments.audit.steps import Step, steps

NEURON = "L4.mlp.n173 stores capital(France)"
OWN = 'L4.mlp.n173 is necessary for "The capital of {France} is" = Paris against {Japan} = Tokyo'
NEAR = [0.55, 0.44, 0.6, 0.48, 0.58, 0.42, 0.61, 0.53, 0.5, 0.57]  # a mean of .528: 25 prompts or so would decide
ON_THE_LINE = {"confirm restore patch": NEAR}
OTHERS = {"other damage mean": [0.05, 0.2] * 3 + [0.02, 0.1] * 3}


@pytest.fixture
def next_(found):
    """`next_({...}, NEURON)`: what follows from such evidence of some claims."""

    def made(changed=None, *claims: str, speed: float | None = 100.0, progress=(500, 500), model=None, **words):
        asked = {k: words.pop(k) for k in ("draws", "controls", "others", "corruption", "searched") if k in words}
        claims = claims or (NEURON,)
        evidence = [found(changed, **words)] * len(claims)
        verdicts = [judge(parse(c), e) for c, e in zip(claims, evidence, strict=True)]
        params = Params(claims=claims, **asked)
        standing = {"folder": "studies/one", "progress": progress, "speed": speed, "model": model or {}}
        return steps(params, verdicts, evidence, **standing)

    return made


def typed(step: Step) -> Params:
    """The parameters that a command means, read as the command line reads them."""
    command, bound, _ = cli.app.parse_args(shlex.split(step.command)[1:], exit_on_error=False, print_error=False)
    assert command.__name__ == "audit"
    gathering = bound.arguments.get("gathering")
    words = asdict(gathering) if gathering else {}
    assert str(bound.arguments["running"].study) == step.study
    return Params(claims=bound.arguments["claims"], **words)


@pytest.mark.parametrize("changed", [{}, {"confirm restore patch": 0.2}])
def test_where_nothing_is_open_there_is_nothing_to_do(next_, changed):
    assert next_(changed) == []


def test_more_draws_where_the_topics_own_prompts_are_too_few_or_too_spread(next_):
    best, *rest = next_(ON_THE_LINE)
    assert not rest and best.settles == ((NEURON, "sufficient"),)
    draws = best.params["draws"]
    assert draws > 1 and best.params["claims"] == (NEURON,)
    assert typed(best) == msgspec.convert(best.params, Params)
    assert best.study == f"studies/one-draws-{draws}" and best.seconds > 0


def test_few_templates_are_not_made_up_for_by_draws(next_):
    (only,) = next_(templates=3, draws=1)
    assert only.command == "" and "templates" in only.what
    assert {"necessary", "sufficient", "stable under prompt", "robust to method"} <= {c for _, c in only.settles}


def test_more_peers_where_chance_is_open(next_):
    (best,) = next_(peers=10, controls=10)
    assert best.settles == ((NEURON, "better than chance"),) and best.params["controls"] == 19
    assert typed(best).controls == 19


def test_no_more_peers_where_there_are_none(next_):
    (only,) = next_(peers=10, controls=99)
    assert only.command == "" and "no more units" in only.what and only.seconds is None


def test_more_others_where_specificity_is_open_on_them(next_):
    (best,) = next_(OTHERS)
    assert best.settles == ((NEURON, "specific"),) and best.params["others"] > 24


def test_no_others_where_it_is_open_on_texts(next_):
    (only,) = next_({"text damage mean": [0.02, 0.09] * 6})
    assert only.command == "" and "unrelated text" in only.what


@pytest.mark.parametrize("corruption", ["replace", "noise"])
def test_of_ones_own_prompt_only_prompts_of_ones_own_help(next_, corruption):
    made = next_({"paraphrase damage mean": None}, OWN, templates=1, corruption=corruption)
    assert made and all("prompts of one's own" in s.what and "costs nothing" in s.what for s in made)
    assert all(s.command == "" for s in made)


def test_more_draws_than_there_are_foils_are_not_proposed(next_):
    barely = {"confirm restore patch": [0.5 + x for x in (0.3, -0.3, 0.3, -0.3, 0.3, -0.3, 0.3, -0.3, 0.3, -0.29)]}
    (only,) = next_(barely, corruption="replace")
    assert only.command == "" and "templates" in only.what
    assert next_(barely, corruption="noise")[0].params["draws"] > 12


def test_the_most_criteria_a_second_come_first_and_words_last(next_):
    made = next_(ON_THE_LINE | {"domain damage mean": NEAR}, peers=10, controls=10)
    runnable = [s for s in made if s.command]
    assert len(runnable) == 3 and made[-1].command == "" and "stable under domain" in made[-1].settles[0]
    rates = [len(s.settles) / s.seconds for s in runnable]
    assert rates == sorted(rates, reverse=True)
    both = next(s for s in runnable if len(s.settles) == 2)
    assert both.params["controls"] == 19 and both.params["draws"] > 1
    assert both.seconds > max(s.seconds for s in runnable if s is not both)


def test_only_claims_that_it_could_settle_are_audited_again(next_, found):
    claims = (NEURON, "L4.mlp.n173 is necessary for capital(France)")
    (best,) = next_(ON_THE_LINE, *claims)
    assert best.params["claims"] == (NEURON,)


def test_time_is_that_of_the_trials_that_grow(next_, found):
    (slow,), (fast,), (unknown,) = (next_(ON_THE_LINE, speed=s, draws=1) for s in (50.0, 100.0, None))
    assert slow.seconds == pytest.approx(2 * fast.seconds) and unknown.seconds is None
    rows = found(ON_THE_LINE).rows
    own = int((rows["group"].isin(["confirm", "paraphrase"]) & ~rows["measure"].str.startswith("random")).sum())
    assert fast.seconds == pytest.approx((len(rows) + own * (fast.params["draws"] - 1)) / 100)


def test_trials_that_two_claims_share_are_counted_once(next_):
    (one,) = next_(ON_THE_LINE, draws=1)
    (two,) = next_(ON_THE_LINE, NEURON, "L4.mlp.n174 stores capital(France)", draws=1)
    assert two.seconds == pytest.approx(one.seconds) and len(two.settles) == 2 * len(one.settles)


def test_the_command_keeps_the_chat(found):
    evidence = found(ON_THE_LINE)
    verdict, standing = (
        judge(parse(NEURON), evidence),
        {"folder": "one", "progress": (5, 5), "speed": None, "model": {}},
    )
    (step,) = steps(Params(claims=(NEURON,)), [verdict], [evidence], question=Question(chat=True), **standing)
    _, bound, _ = cli.app.parse_args(shlex.split(step.command)[1:], exit_on_error=False, print_error=False)
    assert bound.arguments["chat"]


def test_the_command_keeps_what_was_chosen(next_):
    (best,) = next_(ON_THE_LINE, searched=True, others=6, model={"name": "my model", "dtype": "bfloat16"})
    assert typed(best).searched and typed(best).others == 6
    assert "--model 'my model' --dtype bfloat16" in best.command


@pytest.mark.parametrize("progress", [(0, 0), (0, 500), (499, 500)])
def test_a_study_with_trials_missing_is_finished_first(next_, progress):
    (only,) = next_(ON_THE_LINE, progress=progress)
    assert only.command == "lashley resume studies/one" and only.settles == ((NEURON, "sufficient"),)
    assert only.seconds == ((progress[1] - progress[0]) / 100 if progress[1] else None)


def test_what_the_model_does_not_know_is_not_open():
    verdict = untestable(parse(NEURON), "it is not known to the model")
    words = {"folder": "s", "progress": (1, 1), "speed": None, "model": {}}
    assert steps(Params(claims=(NEURON,)), [verdict], [None], **words) == []
