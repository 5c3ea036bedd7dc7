"""A thousand single bits flipped in finished studies: `check`, `report`, `resume` each notice, or nothing changes."""

import random
import shutil
import warnings
from collections import Counter
from pathlib import Path

import msgspec
import pytest

import lashley
from lashley import api
from lashley.cli import studies as commands
from lashley.core.errors import LashleyError
from lashley.report import to_json
from lashley.study.study import Study

pytestmark = pytest.mark.real

FLIPS = 1000
ASK = {"relation": "capital", "subject": "France", "draws": 1}


@pytest.fixture(scope="module")
def bench():
    return lashley.open_model("embedded-gpt2")


@pytest.fixture(scope="module")
def studies(bench, tmp_path_factory) -> list[Path]:
    """Finished ones: a map, a search with arrays beside it, a screen, and one whose last rows lie in a WAL."""
    root = tmp_path_factory.mktemp("flips")
    lashley.locate(bench, **ASK, register="list", kinds=("resid",), study=root / "map").ledger.close()
    lashley.circuit(bench, **ASK, register="list", study=root / "circuit").ledger.close()
    lashley.knockout(
        bench, **ASK, register="list", units="heads", screen=4, sample=2, study=root / "screen"
    ).ledger.close()
    lashley.attention(bench, **ASK, register="list", study=root / "open")
    shutil.copytree(root / "open", root / "killed")
    assert (root / "killed" / "ledger.sqlite-wal").stat().st_size > 10_000
    return [root / name for name in ("map", "circuit", "screen", "killed")]


def shown(study: Study) -> tuple[bytes, object]:
    page = study.page()
    environment = {k: v for k, v in page.environment.items() if k != "report made"}
    page = msgspec.structs.replace(page, environment=environment, study="", caveats=page.caveats)
    return to_json(page), study.table


def check(folder: Path) -> None:
    """The command, which ends with code 2 where it warned, and with 0 elsewhere."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            commands.check(folder)
        except SystemExit as ended:
            assert ended.code == 2 and told
        else:
            assert not told
    for warning in told:
        warnings.warn(warning.message, stacklevel=2)


def report(folder: Path) -> tuple[bytes, object]:
    study = Study.open(folder)
    try:
        return shown(study)
    finally:
        study.ledger.close()


def resume(folder: Path) -> None:
    api.resume(folder).ledger.close()


def test_a_flipped_bit_is_noticed_or_changes_nothing_that_is_shown(bench, studies, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(api, "open_model", lambda *_, **__: bench)
    draw, found, copy = random.Random(1929), Counter(), tmp_path / "study"
    intact = {whole: report(shutil.copytree(whole, tmp_path / whole.name)) for whole in studies}
    for number in range(FLIPS):
        whole = studies[number % len(studies)]
        shutil.copytree(whole, copy)
        files = sorted(p for p in copy.rglob("*") if p.is_file() and not p.name.endswith("-shm"))
        path = draw.choices(files, [p.stat().st_size if p.suffix == ".sqlite" else 9000 for p in files])[0]
        data = bytearray(path.read_bytes())
        at = draw.randrange(len(data))
        data[at] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        noticed = []
        for command in (check, report, resume):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                try:
                    if (got := command(copy)) is not None and not told:
                        assert got[0] == intact[whole][0], (path.name, at)
                        assert got[1].equals(intact[whole][1]), (path.name, at)
                    noticed.append(bool(told))
                except LashleyError as error:
                    assert "\n" not in str(error)
                    noticed.append(True)
        assert len(set(noticed)) == 1, (path.name, at, noticed)
        found[path.name, "noticed" if noticed[0] else "changes nothing"] += 1
        shutil.rmtree(copy)
    with capsys.disabled():
        print(*(f"\n{name}: {n} {what}" for (name, what), n in sorted(found.items())))
    assert found.total() == FLIPS
