"""Is pyproject.toml true of the lowest dependencies it allows, of the newest, and of every Python that it names?

An environment each in tests/.envs, kept; a part of the suite and one study in it. Where the index has torch with CUDA
only, an environment takes some GB. `python tools/check_versions.py lowest` tries that one alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "tests/.envs"
TESTS = [
    *("core", "facts", "stats", "ledger", "claims", "report", "circuits", "cli", "experiments/test_locate.py"),
    *("engine/test_tiny.py", "engine/test_engine_contract.py", "engine/test_engine_checkpoints.py"),
]
ASKED = "locate --relation capital --subject France --kinds mlp"


def pythons() -> list[str]:
    """The versions that the classifiers name, lowest first."""
    made = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    prefix = "Programming Language :: Python :: 3."
    return [c.rpartition(" ")[2] for c in made["project"]["classifiers"] if c.startswith(prefix)]


def python(version: str) -> str | None:
    """An interpreter of that version: on the path, or among pyenv's."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(kept.glob(f"{version}.*/bin/python{version}")))]
    wanted = f"import sys; sys.exit(f'{{sys.version_info[0]}}.{{sys.version_info[1]}}' != '{version}')"
    for each in filter(None, found):
        if subprocess.run([each, "-c", wanted], capture_output=True).returncode == 0:
            return each
    return None


def check(name: str, interpreter: str, constraints: list[str]) -> bool:
    """Make the environment, run the tests and one study in it."""
    bin = ENVS / name / "bin"
    run = {"cwd": ROOT, "env": {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}}
    install = [bin / "pip", "install", "-q", "--disable-pip-version-check", "--upgrade", *constraints]
    tests = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis"]
    with tempfile.TemporaryDirectory() as scratch:
        study = ["--study", str(Path(scratch) / "study")]
        for command in (
            [interpreter, "-m", "venv", ENVS / name],
            [*install, "-e", ".[gguf]", *tests],
            [bin / "python", "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", *(f"tests/{t}" for t in TESTS)],
            [bin / "lashley", *ASKED.split(), *study],
            [bin / "lashley", "export", study[1]],
        ):
            if subprocess.run(list(map(str, command)), **run).returncode:  # pyright: ignore[reportCallIssue, reportArgumentType]
                return False
    return True


def main() -> None:
    low, *_ = pythons()
    every = {"lowest": (low, ["-c", "constraints-lowest.txt"])} | {f"newest-{v}": (v, []) for v in pythons()}
    results = {}
    for name, (version, constraints) in every.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        if found := python(version):
            print(f"-- {name}, by {found}", flush=True)
            results[name] = "passed" if check(name, found, constraints) else "FAILED"
        else:
            results[name] = f"skipped: there is no Python {version} here"
    for name, result in results.items():
        print(f"{name}: {result}")
    sys.exit("FAILED" in results.values())


if __name__ == "__main__":
    main()
