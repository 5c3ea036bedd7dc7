"""A model folder of which one thing was changed opens as what it then stands for, or is refused in one line."""

import shutil

import pytest
import torch
from folder_changes import IDS, NAMES, base, sample, truth

from lashley.core.errors import BadModel
from lashley.engine.checkpoints import load
from lashley.engine.selftest import checked

NEAR = 1e-3  # logits


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    for number, name in enumerate(NAMES):
        base(name, root / str(number))
    return {name: root / str(number) for number, name in enumerate(NAMES)}


def logits(path) -> torch.Tensor:
    """Of an opened folder; the self-test has to refuse what does not run, or gives no numbers."""
    model = load(str(path))
    try:
        with torch.no_grad():
            found = model.module(IDS).logits
    except Exception:
        found = torch.tensor(float("nan"))
    if not found.isfinite().all():
        checked(model)
    return found


def wrongly_read(many, seed, folders, scratch) -> tuple[dict[str, int], list[str]]:
    counts, wrong = {"refused": 0, "right": 0}, []
    for name, (what, change, config) in sample(many, seed, folders):
        path = shutil.copytree(folders[name], scratch / "changed", dirs_exist_ok=True)
        change(path)
        try:
            got = logits(path)
        except BadModel as e:
            assert "\n" not in str(e) and str(e).startswith(str(path)) and "; " in str(e), (name, what, e)
            counts["refused"] += 1
            continue
        want = truth(name, config)
        if want is not None and want.shape == got.shape and (got - want).abs().max() < NEAR:
            counts["right"] += 1
        else:
            wrong.append(f"{name}, {what}")
    return counts, wrong


def test_a_changed_folder_is_refused_or_right(folders, tmp_path):
    counts, wrong = wrongly_read(45, 0, folders, tmp_path)
    assert not wrong
    assert counts["right"] >= 3 and counts["refused"] >= 20


@pytest.mark.real
def test_three_hundred_changed_folders_are_refused_or_right(folders, tmp_path, capsys):
    counts, wrong = wrongly_read(300, 1, folders, tmp_path)
    with capsys.disabled():
        print(f"\nof 300 changed folders: {counts['refused']} refused, {counts['right']} right, {len(wrong)} wrong")
    assert not wrong
