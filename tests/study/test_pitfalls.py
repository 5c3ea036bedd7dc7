"""Every exhibit of a pitfall: the standard method is fooled, and the audit is not."""

import json

import pytest

from lashley.core.claim import Verdict
from lashley.validation import pitfalls


def show(exhibit, bench) -> pitfalls.Exhibit:
    """The exhibit without its audit."""
    weights = bench.model.weights_hash
    shown = exhibit(
        bench, lambda model, name, *claims: tuple(Verdict(c, "refuted", "Refuted: not asked.") for c in claims)
    )
    assert bench.model.weights_hash == weights, "an exhibit leaves the model as it was"
    return shown


def test_zero_ablation_damages_what_its_mean_does_not(bench):
    shown = show(pitfalls.decoy, bench)
    assert shown.found.value > 0.4 > 0.2 > abs(shown.real.value)


def test_a_probe_reads_what_nothing_uses(bench):
    shown = show(pitfalls.unread, bench)
    assert shown.found.value > 0.95
    assert abs(shown.real.value) < 0.01


def test_a_subspace_patch_wakes_a_dormant_path(bench):
    shown = show(pitfalls.dormant, bench)
    assert shown.found.low > 0.2
    assert abs(shown.real.value) < 0.01


def test_a_ranking_of_an_untrained_model_moves_next_to_nothing(bench):
    shown = show(pitfalls.ranking, bench)
    assert shown.found.value > 0.1, "as a share it looks like something"
    assert shown.real.value < 0.5, "in logits it is nothing"
    models = {row["y"] for row in shown.figure.spec["data"]["values"]}
    assert models == {"trained", "untrained"}


def test_a_window_lends_a_layer_its_neighbours(bench):
    shown = show(pitfalls.window, bench)
    assert shown.found.low > 0.5 > shown.real.high


def test_the_strongest_site_breaks_the_model(bench):
    shown = show(pitfalls.broken, bench)
    assert shown.found.value > 0.4
    assert shown.real.value > 1.0, "nats a token, on any text"
    others = [row["effect"] for row in shown.figure.spec["data"]["values"]]
    assert min(others) > 0.4, "no fact is spared"


@pytest.mark.real  # minutes; `make test-real` runs it
@pytest.mark.timeout(900)
def test_the_whole_page_supports_no_claim(tmp_path):
    page = pitfalls.pitfalls(tmp_path, lambda what, done, total: None)
    json.dumps([f.spec for f in page.figures])
    rows = {row[0]: row for row in page.tables[0].rows}
    assert len(rows) == len(pitfalls.EXHIBITS)
    false = [v for v in page.verdicts if "is sufficient for" not in v.claim or "@" in v.claim]
    assert len(false) == len(rows) and all(v.outcome in ("refuted", "not testable") for v in false)
    for why in ("redundancy", "self-repair"):
        row = rows[f"a single knockout is blind where there is {why}"]
        assert row[3].value < 0.5 < row[5].value
