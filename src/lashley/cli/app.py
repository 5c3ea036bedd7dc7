"""The command line: parse, call, print. No logic."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from contextlib import suppress
from typing import Any, get_args

import cyclopts
from cyclopts import App, Parameter

from lashley import experiments
from lashley.cli import asking, facts, models, studies, unforeseen, validation
from lashley.core.address import KINDS
from lashley.core.errors import BadClaim, LashleyError
from lashley.report.console import say, spelt_out

_LISTS = ("--kinds=", "--units=", "--sites=")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _whole(kind: Any, tokens: Any) -> Any:
    """A word as what an option takes; cyclopts would round 0.5 draws to none."""
    if int in (kind, *get_args(kind)) and (bad := [t.value for t in tokens if "." in t.value]):
        raise ValueError(f"{bad[0]} is no whole number; write it in digits alone")
    return cyclopts.convert(kind, tokens)


app = App(
    name="lashley",
    help="Where does a fact live in a language model?",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(converter=_whole),
)
for _under in (asking.plan_app, asking.claims_app, facts.facts_app, facts.tasks_app, models.models_app):
    app.command(_under)
for _name, _run in asking.COMMANDS.items():
    app.command(_run, name=_name, help=experiments.find(_name).about)
for _command in (
    *(models.plant, models.read, validation.calibrate, validation.demo, validation.pitfalls),
    *(studies.judge, studies.next_, studies.resume, studies.report, studies.check, studies.compare, studies.export),
):
    app.command(_command, name=_command.__name__.rstrip("_"))


def main() -> None:
    """Run. A user's mistake is one line and exit code 2, never a traceback; what nobody foresaw is one line, a file
    with the details, and 70; Ctrl-C is 130, and 141 where nobody reads the output any longer."""
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error"} | os.environ
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module=r"lashley\.")
    warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {_line(message)}")
    spelt_out()
    try:
        app(_listed(sys.argv[1:]), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except cyclopts.CycloptsError as e:
        _complain(f"lashley: {_line(e).rstrip('.')}; see lashley --help")
        sys.exit(2)
    except BadClaim as e:
        told = e.pointed() if sys.stderr.isatty() else f"lashley: {_line(e)}"
        _complain(f"{told}; see lashley claims")
        sys.exit(2)
    except LashleyError as e:
        _complain(f"lashley: {_line(e)}")
        sys.exit(2)
    except KeyboardInterrupt as stop:
        _complain("; ".join(filter(None, ("lashley: stopped", str(stop)))))
        sys.exit(130)
    except BrokenPipeError:
        _unheard(sys.stdout)
        sys.exit(141)
    except Exception as e:
        if isinstance(e, UnicodeEncodeError) and "surrogates" in e.reason:
            _complain(f"lashley: {e.object[:80]!r} is not UTF-8; type it in UTF-8")
            sys.exit(2)
        if isinstance(e, OSError) and e.errno in FULL and not e.filename:
            _unheard(sys.stdout)
            _complain(f"lashley: the output cannot be written ({e.strerror}); make room, or send it elsewhere")
            sys.exit(2)
        _complain(f"lashley: {_line(unforeseen.told(e, sys.argv))}")
        sys.exit(70)


def _listed(words: list[str]) -> list[str]:
    """Lists as people write them: `--kinds attn mlp` and `--kinds attn,mlp` name the option again before each, and
    sites after `--units` or `--sites` become one list. What follows `--` stays as it is.

    >>> _listed(["locate", "--kinds", "attn,mlp", "resid", "A {} is", "--units", "L7.attn", "L8.attn"])
    ['locate', '--kinds', 'attn', '--kinds', 'mlp', '--kinds', 'resid', 'A {} is', '--units=L7.attn L8.attn']
    """
    made: list[str] = []
    end = words.index("--") if "--" in words else len(words)
    left = [part for word in words[:end] for part in (word.split("=", 1) if word.startswith(_LISTS) else [word])]
    while left:
        option = left.pop(0)
        made.append(option)
        if option == "--kinds" and left:
            kinds = left.pop(0).split(",")
            while left and set(left[0].split(",")) <= {*KINDS, ""}:
                kinds += left.pop(0).split(",")
            made += [word for kind in filter(None, kinds) for word in (option, kind)][1:]
        elif option in ("--units", "--sites") and left:
            sites = [left.pop(0)]
            while left and re.match(r"L[0-9*]|blocks\.|hook_|[+,]", left[0]):
                sites.append(left.pop(0))
            made[-1] = f"{option}={' '.join(sites)}"
    return made + words[end:]


def _complain(line: str) -> None:
    with suppress(OSError):  # nobody can be told
        say(line, error=True)
        sys.stderr.flush()


def _unheard(stream) -> None:
    """Send what is still to be written nowhere, so that ending does not fail as well."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _line(e: object) -> str:
    return " ".join(str(e).split())
