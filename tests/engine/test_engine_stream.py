"""A corpus is read as `read` reads a few runs: the same numbers, in files that are whole or not there."""

import gc

import numpy as np
import pytest
import torch
from tiny import open_model, run

from lashley.core.errors import BadSite, LashleyError
from lashley.core.site import Site
from lashley.engine import stream as door
from lashley.engine.bench import Bench
from lashley.engine.passes import watch

RUNS = [run(n, seed=s) for s in range(5) for n in (6, 9, 4, 7)]
SITES = [
    Site(0, "resid"),
    Site(1, "mlp", None, "final"),
    Site(1, "head", 2, -2),
    Site(0, "neuron", 7, "subject"),
    Site(0, "attn", None, "final"),
    Site(1, "head"),
]


@pytest.fixture
def bench(model) -> Bench:
    return Bench(model)


def same(found: dict, expected: dict, tolerance: float = 1e-4) -> None:
    assert found.keys() == expected.keys()
    for site, want in expected.items():
        assert found[site].shape == want.shape
        np.testing.assert_allclose(found[site], want, rtol=0, atol=tolerance * np.abs(want).max(), err_msg=str(site))


def test_it_is_what_read_gives(bench, tmp_path):
    found = bench.stream(iter(RUNS), SITES, tmp_path / "out")
    same(found, bench.read(RUNS, SITES))
    names = {"index.npy", "index@final.npy", "index@-2.npy", "index@subject.npy"} | {f"{s}.npy" for s in SITES}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names and [p.name for p in tmp_path.iterdir()] == ["out"]
    for site, array in found.items():
        assert isinstance(array, np.memmap) and array.dtype == np.float32
        np.testing.assert_array_equal(array, np.load(tmp_path / "out" / f"{site}.npy"))


def test_the_index_tells_run_and_position(bench, tmp_path):
    bench.stream(RUNS, SITES, tmp_path / "out")
    where = [(i, p) for i, r in enumerate(RUNS) for p in range(len(r))]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "index.npy"), where)
    last = [(i, len(r) - 1) for i, r in enumerate(RUNS)]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "index@final.npy"), last)
    subject = [(i, p) for i in range(len(RUNS)) for p in (2, 3)]
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "index@subject.npy"), subject)


def test_small_windows_and_little_memory_give_the_same(name, bench, tmp_path, monkeypatch):
    monkeypatch.setattr(door, "WINDOW", 1 / 20)
    monkeypatch.setattr(type(bench.model), "tokens_per_pass", 14)
    progress = []
    found = bench.stream(RUNS, SITES, tmp_path / "out", progress=progress.append)
    monkeypatch.undo()
    same(found, bench.read(RUNS, SITES))
    assert progress == sorted(progress) and progress[-1] == len(RUNS) and len(progress) > 10


def test_half_the_room(bench, tmp_path):
    found = bench.stream(RUNS, SITES, tmp_path / "out", store="float16")
    assert {a.dtype for a in found.values()} == {np.dtype("float16")}
    same(found, bench.read(RUNS, SITES), 1e-3)


def test_numbers_beyond_float16_are_refused(tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setattr(door, "part", lambda model, x, site: x * 1e6)
    with pytest.raises(LashleyError, match=r"L0\.resid has numbers beyond"):
        Bench(tiny_llama).stream(RUNS, SITES[:1], tmp_path / "out", store="float16")
    assert not list(tmp_path.iterdir())


def test_no_layer_after_the_deepest_site_is_computed(bench):
    seen = []
    hooks = [b.register_forward_hook(lambda *_, i=i: seen.append(i)) for i, b in enumerate(bench.model.blocks)]
    try:
        for site, passed in {
            Site(1, "resid"): [0],
            Site(0, "mlp"): [],
            Site(1, "attn"): [0],
            Site(bench.anatomy.layers, "resid"): list(range(bench.anatomy.layers)),
        }.items():
            seen.clear()
            (alone,) = bench.read([run(6)], [site]).values()
            assert seen == passed, site
            both = bench.read([run(6)], [site, Site(bench.anatomy.layers, "resid")])
            np.testing.assert_array_equal(alone, both[site])
    finally:
        for hook in hooks:
            hook.remove()


def test_nothing_is_left_hooked(bench):
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in bench.model.module.modules())

    before = hooks()
    watch(bench.model, [run(6)], [(0, "mlp")], lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        watch(bench.model, [run(6)], [(0, "mlp")], lambda *_: 1 / 0)
    assert hooks() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, BadSite, OSError])
def test_what_breaks_off_leaves_nothing(tiny_llama, tmp_path, error):
    def runs():
        yield from RUNS
        raise error

    with pytest.raises(LashleyError if error is OSError else error):
        Bench(tiny_llama).stream(runs(), SITES, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_run_without_the_role_is_refused(tiny_llama, tmp_path):
    with pytest.raises(BadSite, match="no position in the role 'subject_middle'"):
        Bench(tiny_llama).stream(RUNS, [Site(0, "mlp", None, "subject_middle")], tmp_path / "out")
    with pytest.raises(BadSite, match=r"L9\.mlp"):
        Bench(tiny_llama).stream(RUNS, [Site(9, "mlp")], tmp_path / "out")
    with pytest.raises(LashleyError, match="no texts"):
        Bench(tiny_llama).stream([], SITES, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_taken_when_it_is_empty(tiny_llama, tmp_path):
    bench, folder = Bench(tiny_llama), tmp_path / "out"
    folder.mkdir()
    bench.stream(RUNS, SITES, folder)
    with pytest.raises(LashleyError, match="not empty"):
        bench.stream(RUNS, SITES, folder)
    (tmp_path / "file").touch()
    with pytest.raises(LashleyError, match="choose another folder"):
        bench.stream(RUNS, SITES, tmp_path / "file")


def test_memory_does_not_grow_with_the_runs(tiny_llama, tmp_path, monkeypatch):
    """However many come, no more runs are held than of one window, and no activation outlives its pass."""
    monkeypatch.setattr(type(tiny_llama), "tokens_per_pass", 64)
    fill, windows, live = door._fill, [], []

    def counted(model, window, *rest):
        windows.append(len(window))
        gc.collect()
        live.append(sum(o.nbytes for o in gc.get_objects() if type(o) is torch.Tensor))
        fill(model, window, *rest)

    monkeypatch.setattr(door, "_fill", counted)
    runs = (run(6, seed=i) for i in range(1500))
    Bench(tiny_llama).stream(runs, [Site(1, "mlp"), Site(0, "resid")], tmp_path / "out")
    assert sum(windows) == 1500 and len(windows) > 5 and max(windows) <= door.WINDOW * 64 / 6 + 1
    assert max(live) - live[0] < 10_000


def test_every_token_goes_once_through_the_layers_below_the_deepest_site_and_nothing_is_unembedded(bench, tmp_path):
    runs = [run(n, seed=s) for s in range(60) for n in (6, 9, 4, 7)]
    through = [0] * bench.anatomy.layers
    passes = [0] * bench.anatomy.layers
    unembedded = []

    def count(layer: int):
        def seen(module, args) -> None:
            through[layer] += args[0].shape[0] * args[0].shape[1]
            passes[layer] += 1

        return seen

    hooks = [block.register_forward_pre_hook(count(i)) for i, block in enumerate(bench.model.blocks)]
    hooks.append(bench.model.module.get_output_embeddings().register_forward_hook(lambda *_: unembedded.append(1)))
    deepest = 1
    bench.stream(runs, [Site(0, "attn"), Site(deepest, "mlp")], tmp_path / "out")
    for hook in hooks:
        hook.remove()
    tokens, lengths = sum(map(len, runs)), 4
    assert through == [tokens if layer <= deepest else 0 for layer in range(bench.anatomy.layers)]
    assert passes[0] <= tokens / bench.model.tokens_per_pass + lengths and not unembedded


def test_little_memory_changes_nothing(tmp_path):
    found = Bench(open_model("gpt2", memory=1)).stream(RUNS, SITES, tmp_path / "out")
    same(found, Bench(open_model("gpt2")).read(RUNS, SITES))
