"""Commands that show how far the instrument can be trusted."""

from __future__ import annotations

import math
from pathlib import Path

from lashley.report.console import Console, say, say_json
from lashley.report.progress import progress_of


def calibrate(
    *,
    model: str = "embedded",
    quick: bool = False,
    small: bool = False,
    workers: int = 2,
    minutes: float = math.inf,
    device: str = "cpu",
    out: Path = Path("calibration"),
    json: bool = False,
) -> None:
    """How often the instrument errs: hundreds of claims of known truth, on planted and on null models.

    Stopped and started again, it goes on where it was.

    Parameters
    ----------
    quick
        Seven models, in minutes: single and redundant plants, and null models.
    small
        Few models, for a large one.
    workers
        Processes at work at once.
    minutes
        Begin no model after so many; what is done is summed up.
    device
        As torch names it: cpu, cuda, mps. Each worker has the model there once.
    out
        Folder of the records; the results go to a folder of the model's name in it.
    """
    from lashley.validation.calibrate import calibrate as work
    from lashley.validation.calibrate import trials
    from lashley.validation.rates import summary, table, write

    size = "quick" if quick else "small" if small else "standard"
    folder = out / (Path(model).name if size != "quick" else f"{Path(model).name}-quick")
    with progress_of(json, lines=True) as progress:
        records = work(model, folder, size, workers, progress, minutes, device)
        found = summary(Path(model).name, records, len(trials(model, size)))
    path = write(found, folder)
    if json:
        say_json(path.with_name("results.json").read_bytes())
    else:
        Console().print(table([found]), highlight=False)
        say(path)


def demo(*, out: Path = Path("studies/demo")) -> None:
    """Two verdicts side by side: on a fact that training put into the embedded model, and on a planted one."""
    from lashley.report import terminal, write
    from lashley.validation.demo import demo as show

    with progress_of(False, lines=True) as progress:
        *studies, page = show(out, progress)
    for study in studies:
        study.write()
    path = write(page, out).html
    terminal.beside(Console(highlight=False), page.verdicts)
    for study in studies:
        say(study.folder / "report.html")
    say(path)


def pitfalls(*, out: Path = Path("studies/pitfalls"), json: bool = False) -> None:
    """Published pitfalls on the embedded model: what standard methods say, what is there, what this instrument says."""
    from lashley.report import terminal, to_json, write
    from lashley.validation.pitfalls import pitfalls as show

    with progress_of(json, lines=True) as progress:
        page = show(out, progress)
    path = write(page, out).html
    if json:
        say_json(to_json(page))
    else:
        terminal.show(page, path)
