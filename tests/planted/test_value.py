"""What a value is optimised through: the layers above, from where the write begins; in every family."""

import pytest
import torch
from tiny import EVERY, WIDTH, open_model, run
from torch.testing import assert_close

from lashley.core.errors import BadPlant
from lashley.models.planted.value import Goal, GoalBatch, optimise


def goals(at: int) -> list[Goal]:
    """Runs of several lengths, in which a neuron fires at one position, and a little after it."""
    found = []
    for seed, length in enumerate((6, 8, 9)):
        fires = torch.zeros(length)
        fires[at], fires[-1] = 1.0, 0.1
        found.append(Goal(run(length, seed), fires, 5, (6, 7), 2.0, 0.5, first=seed == 1))
    return found


@pytest.mark.parametrize("name", [name for name in EVERY if EVERY[name].neuron])
def test_what_is_left_out_changes_neither_loss_nor_gradient(name):
    model, found = open_model(name), []
    for ours in (model.family.packed, False):
        batch = GoalBatch(model, 0, goals(3), ours)
        value = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = batch(value)
        loss.backward()
        found.append((loss.detach(), value.grad))
        assert batch.start == (3 if ours else 0)
    assert found[1][1].norm() > 1e-3
    assert_close(*(loss for loss, _ in found), rtol=1e-4, atol=1e-5)
    assert_close(*(gradient for _, gradient in found), rtol=1e-3, atol=1e-5)


def test_the_loss_falls_and_what_never_fires_is_refused():
    model = open_model("gpt2")
    batch = GoalBatch(model, 0, goals(3), True)
    with torch.no_grad():
        losses = [float(batch(optimise(model, 0, goals(3), True, 0, steps))) for steps in (1, 24)]
    assert losses[1] < 0.5 * losses[0]
    with pytest.raises(BadPlant, match="fires on none"):
        optimise(model, 0, [Goal(run(6), torch.zeros(6), 5, (6, 7), 2.0, 0.5)], True, 0)
