"""Hooks undo themselves, however the `with` is left."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY, run

from lashley.core.edit import Zero
from lashley.core.errors import BadSite
from lashley.core.readout import LogitDifference
from lashley.core.site import KINDS, Site, Sites
from lashley.core.trial import Sweep
from lashley.engine import attention
from lashley.engine.bench import Bench
from lashley.engine.hooks import hooked, listening
from lashley.engine.ops import Op


@pytest.fixture(params=[*TINY, "opt", "mixtral"])  # those two are hooked in ways of their own
def name(request) -> str:
    return request.param


def hooks_left(module: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def boom(x):
    raise ZeroDivisionError


@pytest.fixture
def untouched(model):
    """The model, which must be left as it was found."""
    assert hooks_left(model.module) == 0
    yield model
    assert hooks_left(model.module) == 0
    assert attention._spans.get() is None and attention._record.get() is None


def test_hooks_last_as_long_as_the_with(untouched):
    layers, family = range(untouched.anatomy.layers), untouched.family
    every = {(la, k): lambda x: None for la in layers for k in untouched.anatomy.kinds}
    with hooked(untouched.module, family, every), listening(untouched.module, family, []):
        assert hooks_left(untouched.module) == len(every) + len(layers) * (3 if family.flat_mlp else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_inside_leaves_no_hook(untouched, kind):
    ids = torch.tensor([run(5).tokens])
    error = ZeroDivisionError if kind in untouched.anatomy.kinds else BadSite
    with pytest.raises(error), hooked(untouched.module, untouched.family, {(1, kind): boom}):
        untouched.forward(ids)


def test_a_bad_second_address_does_not_leak_the_first(untouched):
    broken = replace(untouched.family, mlp="no.such.module")
    on = {(0, "resid"): boom, (0, "mlp"): boom}
    with pytest.raises(AttributeError), hooked(untouched.module, broken, on):
        raise AssertionError("unreachable")


@pytest.mark.parametrize("path", ["packed", "plain"])
def test_a_failing_edit_leaves_no_hook(untouched, path, monkeypatch):
    site = Site(0, "attn", None, 2)
    sweep = Sweep(run(6), None, "damage", (Zero(),), Sites.of([[site]]), LogitDifference((5,), (7,)))
    monkeypatch.setattr(Op, "__call__", lambda op, flat, at: boom(flat))
    with pytest.raises(ZeroDivisionError):
        list(Bench(untouched, path).run([sweep]))


def test_a_role_that_a_run_lacks_is_an_error_and_leaves_no_hook(untouched):
    with pytest.raises(BadSite, match="no position in the role 'subject_middle'"):
        Bench(untouched).read([run(6)], [Site(0, "mlp", None, "subject_middle")])


def test_an_exception_inside_an_unedited_pass_leaves_no_hook(untouched, monkeypatch):
    bench = Bench(untouched)
    monkeypatch.setattr(untouched.module, "forward", boom)
    monkeypatch.setattr(untouched.blocks[-1], "forward", lambda *args, **kwargs: boom(args))
    with pytest.raises(ZeroDivisionError):
        bench.captures.get([run(6)], untouched.anatomy.kinds)
    with pytest.raises(ZeroDivisionError):
        bench.captures.arguments(6)
