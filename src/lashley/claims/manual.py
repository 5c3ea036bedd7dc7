"""What a claim may say, as a page of text made from the tables that claims are read by."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from lashley.claims import files, grammar
from lashley.claims.criteria import TESTS
from lashley.core import address
from lashley.core.claim import CRITERIA, REQUIRED, Thresholds
from lashley.core.site import Site

WIDTH = 79  # columns
EXAMPLES = (
    "L4.mlp.n173 stores capital(France)",
    "L4.mlp.n1-20 is necessary for capital by necessary, robust to method [necessary = 0.4, alpha = 0.01]",
    f"L5.attn.h* contributes to {grammar.OWN}",
    "L4.mlp.n173+L5.attn.h1@subject_last stores capital(France)=Oslo and nothing else",
)


def page() -> str:
    """The whole of the language, in lines of at most `WIDTH` columns where words allow it."""
    parts = (
        ("A claim is one line of text", _lines((grammar.LINE, "", *EXAMPLES))),
        ("SITES: where", _table({f.example: f.what for f in address.FORMS.values()})),
        ("@ROLE or @INDEX: at one position; without, at every one", _table(_positions())),
        ("Lists: one set of sites, edited together, and one claim about the set", _table(address.LISTS)),
        ("TransformerLens' names", _table(_hooks())),
        ("PREDICATE: what is said of them", _table({p: f"{grammar.SAYS[p]} ({_required(p)})" for p in grammar.SAYS})),
        ("ABOUT: of what", _table(grammar.ABOUT)),
        ("Words", _table(grammar.WORDS)),
        ("CRITERIA", _table({c: _criterion(c) for c in CRITERIA})),
        ("OPTIONS: [NAME = NUMBER, ...], thresholds of the criteria that the claim has", _table(_options())),
        ("Names", _wrapped("Case and the number of blanks do not matter. " + _quotes())),
        ("Files: lashley audit --file FILE", _files()),
    )
    return "\n\n".join("\n".join((title, *lines)) for title, lines in parts)


def _lines(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ", break_long_words=False)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _table(rows: Mapping[str, str]) -> Iterator[str]:
    """A line a row, what is long below its name."""
    column = min(30, max(map(len, rows)) + 4)
    for name, what in rows.items():
        apart = len(name) > column - 4
        yield from [f"  {name}"] * apart
        start = " " * column if apart else f"  {name}".ljust(column)
        yield textwrap.fill(what, WIDTH, initial_indent=start, subsequent_indent=" " * column)


def _positions() -> dict[str, str]:
    roles = {f"@{role}": what for role, what in address.ROLES.items()}
    return roles | {"@subject": "all tokens of the subject", "@4, @-1": "by number; -1 is the last token"}


def _hooks() -> dict[str, str]:
    names = ["hook_embed", *(f"blocks.7.{address.example(name)}" for name in address.HOOKS)]
    return {name: str(Site.parse(name)) for name in names}


def _required(predicate: grammar.Predicate) -> str:
    return ", ".join(REQUIRED[predicate])


def _criterion(name: str) -> str:
    doc = (TESTS[name].__doc__ or "") if name in TESTS else "not tested by this version"
    return " ".join(doc.split("\n\n")[0].split())


def _options() -> dict[str, str]:
    return {n: f"{o.what}: {getattr(Thresholds(), n)} ({o.words})" for n, o in grammar.OPTIONS.items()}


def _quotes() -> str:
    return (
        'A name is put in double quotes where it holds one of ()=[]{}" or one of the words '
        + f"{', '.join(map(repr, grammar.WORDS))}. "
        + r"Inside quotes \" \\ \{ \} stand for themselves, and \n \r \t for blanks."
    )


def _files() -> Iterator[str]:
    for format, suffixes in groupby(files.FORMATS, files.FORMATS.__getitem__):
        yield from _table({", ".join(suffixes): format.what})
        yield from (f"        {line}".rstrip() for line in format.example.splitlines())
