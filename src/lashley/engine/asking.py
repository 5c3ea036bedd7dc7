"""One sweep, from what a person types: the question behind `Bench.effects`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from lashley.core.anatomy import Anatomy
from lashley.core.edit import Edit, Mean, Patch, Resample, Zero
from lashley.core.errors import BadPrompt, BadSite, LashleyError
from lashley.core.fact import SLOT, Template
from lashley.core.placed import placed
from lashley.core.readout import LogitDifference, shared
from lashley.core.run import Run
from lashley.core.site import Site, parse_sites
from lashley.core.trial import Sweep
from lashley.engine.tokens import Tokens

Change = Literal["zero", "mean", "resample", "patch"]
T = TypeVar("T")
SiteSet = Site | str | Sequence[Site]


def asked(
    tokens: Tokens,
    anatomy: Anatomy,
    prompt: str,
    answer: str,
    foil: str,
    sites: Sequence[SiteSet],
    *,
    subject: str | None,
    corrupt: str | None,
    edit: Change,
    reference: Sequence[str],
    join: str,
) -> Sweep:
    """The sweep of `Bench.effects`, whose words these are."""
    say = _prompts(tokens, prompt, subject, join)
    clean, other = say(prompt if subject is None else subject), None if corrupt is None else say(corrupt)
    return Sweep(
        clean=clean,
        corrupt=other,
        effect="restoration" if edit == "patch" else "damage",
        edits=(_edit(edit, clean, other, tuple(map(say, _several(reference, "reference", "prompt")))),),
        sites=placed(clean, [_set(one, anatomy) for one in _several(sites, "sites", "site set")]),
        readout=_readout(tokens, clean, answer, foil),
    )


def _prompts(tokens: Tokens, prompt: str, subject: str | None, join: str) -> Callable[[str], Run]:
    """The run for a subject; without one, for a whole prompt."""
    if subject is None:
        if SLOT in prompt:
            raise BadPrompt(f"{prompt!r} has a {SLOT} and no subject; give subject=")
        return lambda text: msgspec.structs.replace(tokens.run(text), join=join)
    if SLOT not in prompt:
        if (times := prompt.count(subject)) != 1 or not subject:
            raise BadPrompt(f"the subject {subject!r} stands {times} times in {prompt!r}; write {SLOT} where it goes")
        prompt = prompt.replace(subject, SLOT)
    template = Template(prompt, join=join)
    return lambda name: tokens.ask(template, name)


def _edit(edit: Change, clean: Run, corrupt: Run | None, reference: tuple[Run, ...]) -> Edit:
    match edit:
        case "zero":
            return Zero()
        case "mean" if reference:
            return Mean(reference)
        case "resample" if corrupt:
            return Resample(corrupt)
        case "patch" if corrupt:
            return Patch(clean)
        case "mean":
            raise LashleyError("the edit 'mean' is over other runs; give reference=, a list of other subjects")
        case "resample" | "patch":
            raise LashleyError(f"the edit {edit!r} needs a corrupt run; give corrupt=, another subject")
        case _:
            raise LashleyError(f"the edit {edit!r} is not offered; use zero, mean, resample or patch")


def _several(given: Sequence[T], name: str, what: str) -> Sequence[T]:
    if isinstance(given, str | Site):
        raise LashleyError(f"{name}={str(given)!r} is one {what}; give a list, [{str(given)!r}]")
    return given


def _set(given: SiteSet, anatomy: Anatomy) -> tuple[Site, ...]:
    """The sites of one set, each of which the model has. Raises `BadSite`."""
    sites = (given,) if isinstance(given, Site) else parse_sites(given, anatomy) if isinstance(given, str) else given
    if not isinstance(sites, Sequence) or not sites or not all(isinstance(site, Site) for site in sites):
        raise BadSite(f"{given!r} is no set of sites; write L4.mlp.n173+L5.attn, a Site, or several in a tuple")
    return tuple(anatomy.check(site) for site in sites)


def _readout(tokens: Tokens, run: Run, answer: str, foil: str) -> LogitDifference:
    """Raises `BadPrompt` where one answer begins with all of the other."""
    if not answer.strip() or not foil.strip():
        raise BadPrompt(f"the answers {answer!r} and {foil!r} are compared, and one is empty; write both")
    ways = tokens.answers(run, (answer, foil))
    target, other = ways[answer], ways[foil]
    if shared(target, other) == min(len(target), len(other)):
        raise BadPrompt(f"one of {answer!r} and {foil!r} begins with all tokens of the other; choose another foil")
    return LogitDifference(target, other)
