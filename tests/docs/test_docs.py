"""Documents say what is there."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_generated_blocks_of_the_readme_are_up_to_date():
    subprocess.run([sys.executable, ROOT / "tools/readme.py", "--check"], check=True)


@pytest.mark.parametrize(
    "room", sorted(p.name for p in (ROOT / "src/lashley").iterdir() if p.suffix == ".py" or p.is_dir())
)
def test_the_architecture_names_every_room(room):
    if room.startswith("__"):
        pytest.skip("not a room")
    assert Path(room).stem in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_run(example, tmp_path):
    subprocess.run([sys.executable, example], cwd=tmp_path, check=True, capture_output=True)
