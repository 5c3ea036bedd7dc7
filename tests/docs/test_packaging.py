"""What a package index shows and promises."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WANTED = [Requirement(r) for r in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["gguf"])]


def pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): Version(version) for name, version in pins}


@pytest.mark.parametrize("wanted", WANTED, ids=lambda r: r.name)
def test_every_floor_is_the_version_that_is_tested_and_the_pin_is_allowed(wanted):
    (floor,) = (Version(s.version) for s in wanted.specifier if s.operator == ">=")
    assert pinned("constraints-lowest.txt")[wanted.name] == floor, "make check-versions would test another one"
    assert pinned("constraints.txt")[wanted.name] in wanted.specifier


def test_a_pin_of_what_is_not_needed_is_not_kept():
    assert pinned("constraints-lowest.txt").keys() == {r.name for r in WANTED}


def test_the_extra_for_gemma_needs_what_reading_gguf_needs():
    gguf, gemma = (PROJECT["optional-dependencies"][name] for name in ("gguf", "gemma"))
    assert set(gguf) < set(gemma)


def test_the_readme_reads_right_where_no_file_lies_beside_it():
    """On a package index a link to a file of the source leads nowhere; a picture of the source is told in words."""
    pictures = dict(re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README))
    targets = re.findall(
        r"(?<!!)\[[^\]]*\]\(([^)]+)\)|(?:href|src)=[\"']([^\"']+)|^\[[^\]]+\]:\s*(\S+)", README, re.MULTILINE
    )
    assert [t for found in targets for t in found if t and not re.match(r"https?://|mailto:|#", t)] == []
    assert len(pictures) == 1 and all(len(alt) > 80 and (ROOT / file).is_file() for alt, file in pictures.items())
    assert "pip install lashley" in README and len(README.splitlines()) <= 50


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:docs|bench)/[\w./]+|[A-Z]+\.md)`", README))))
def test_a_file_that_the_readme_names_is_there(name):
    assert (ROOT / name).is_file() or list(ROOT.glob(f"src/**/{name}"))


def test_types_are_promised_and_every_python_that_is_tested_is_named():
    assert (files("lashley") / "py.typed").is_file() and "Typing :: Typed" in PROJECT["classifiers"]
    lowest = min(c for c in PROJECT["classifiers"] if c.startswith("Programming Language :: Python :: 3."))
    assert PROJECT["requires-python"] == f">={lowest.rpartition(' ')[2]}"
