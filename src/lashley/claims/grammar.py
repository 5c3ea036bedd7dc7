r"""One claim is one line of text: its parts, words and options are tables here, which the reader reads by, and
`lashley claims` prints (`claims.manual`).

Case and the number of blanks do not matter. A name is put in double quotes where it holds one of ()=[]{}" or one
of the words that end it. Between double quotes \" \\ \{ \} stand for themselves, and \n \r \t for blanks.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from lashley.core import address
from lashley.core.address import JOIN, WORD
from lashley.core.claim import CRITERIA, About, Claim, Predicate, Thresholds
from lashley.core.errors import BadClaim, BadSite, LashleyError, excerpt
from lashley.core.fact import SLOT
from lashley.core.question import Question
from lashley.core.site import Site, parse_sites
from lashley.facts.importers import slug
from lashley.facts.question import find, resolve

if TYPE_CHECKING:
    from lashley.core.anatomy import Anatomy

LINE = "SITES PREDICATE ABOUT [and nothing else] [by CRITERIA] [[OPTIONS]]"
SAYS: dict[Predicate, str] = {  # predicate -> what it says of a site and a fact
    "stores": "the fact is there: needed, enough, of no other fact, and nowhere else",
    "contributes to": "without the site something of the recall is lost",
    "is necessary for": "without the site the recall is lost",
    "is sufficient for": "with the site alone the recall comes back",
}
PREDICATES = tuple(SAYS)
OWN = '"The capital of {France} is" = Paris against {Italy} = Rome'
ABOUT = {  # what a claim may be about -> what that is
    "capital(France)": "a fact of the fact base (see: lashley facts list)",
    "capital(France)=Oslo": "the same with another object: that of a planted or edited fact",
    "capital": "a whole relation",
    OWN: "a prompt of one's own: its subject in braces, its object, and subject and object of a foil",
}
WORDS = {  # the words after what is claimed, or between a fact and its foil -> what they say; each ends a bare name
    "by": "the criteria that are wanted, with commas between them, in place of those of the predicate",
    "against": "the foil of a prompt of one's own",
    "and nothing else": "of stores alone: no other fact fires the unit (monosemantic)",
}
HELD = {  # criterion -> its options, beside alpha; what is not here is held against what the predicate says of damage
    "necessary": ("necessary",),
    "sufficient": ("sufficient",),
    "contributes": ("contributes",),
    "specific": ("others", "loss"),
    "better than chance": (),
    "not redundant": ("second", "necessary"),
    "monosemantic": ("fires",),
    "editable": (),
}


class Option(NamedTuple):
    """A threshold: its largest value, its range in words, and what it is."""

    most: float
    words: str
    what: str


OPTIONS = {
    "necessary": Option(1.5, "above 0 and at most 1.5", "damage at least, a share of the logit difference"),
    "sufficient": Option(1.5, "above 0 and at most 1.5", "restoration at least"),
    "contributes": Option(1.5, "above 0 and at most 1.5", "damage at least, where a site only contributes"),
    "others": Option(sys.float_info.max, "above 0", "mean absolute damage to other facts, at most"),
    "loss": Option(
        sys.float_info.max,
        "above 0",
        "change of the loss on unrelated text, nats a token above the noise floor, at most",
    ),
    "second": Option(sys.float_info.max, "above 0", "restoration by another set of sites, below"),
    "fires": Option(
        1.0, "above 0 and at most 1", "what other facts fire the unit with, as a share of this one's, below"
    ),
    "alpha": Option(0.5 - 2**-54, "above 0 and below 0.5", "level of the tests"),
}
_LONGEST = 200  # characters of a name
_EXAMPLE = f"capital(France), capital, or {OWN}"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANKS = re.compile(r"\s*")
_PREDICATE = re.compile("(?:(" + ")|(".join(PREDICATES).replace(" ", r"\s+") + r"))(?!\w)\s*", re.I)
_STOP = rf'(?<![^\s=({{])(?:{"|".join(WORDS)})(?![^\s\[{{"])'.replace(" ", r"\s+")  # the words that end a name
_RELATION = re.compile(rf"(?:(?!{_STOP})[\w\s-])+", re.I)
_BARE = re.compile(rf'(?:(?!{_STOP})[^()=\[\]{{}}"])+', re.I)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"\s*', re.S)
_BRACES = re.compile(r"\\.|[{}]", re.S)
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPES = {'"': '"', "\\": "\\", "{": "{", "}": "}", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = str.maketrans({meant: f"\\{written}" for written, meant in _ESCAPES.items()})
_WORDS = {word: re.compile(word.replace(" ", r"\s+") + r"(?!\w)\s*", re.I) for word in WORDS}
_DEFAULT = Thresholds()
_NONE: Mapping[str, object] = MappingProxyType({})


def parse(text: str, options: Mapping[str, object] = _NONE, defaults: Thresholds = _DEFAULT) -> Claim:
    """Read one claim. `options` are thresholds given beside the text; `defaults` stand where neither says otherwise.

    Raises `BadClaim`. Whether the relation and its subject exist is left to `check`.
    """
    read = _Reader(text)
    sites, unknown = read.sites()
    predicate = read.predicate()
    about = read.prompt() if text.startswith('"', read.at) else read.fact()
    only = read.only(predicate)
    claim = Claim(sites, predicate, about, only, read.criteria(), open=unknown)
    stated = read.options()
    read.end()
    if not stated and not options and defaults == _DEFAULT:
        return claim
    return msgspec.structs.replace(claim, thresholds=read.thresholds(claim, stated, options, defaults))


def write(claim: Claim) -> str:
    """The claim as text, of which `parse` makes the same claim; options at their defaults, or of no use, are left out.

    >>> write(parse('L4.mlp + L2.attn.h1  Stores "The capital of {France} is" = Paris against {Italy} = Rome'))
    'L2.attn.h1+L4.mlp stores "The capital of {France} is" = Paris against {Italy} = Rome'
    """
    parts = [claim.open or "+".join(map(str, claim.sites)), claim.predicate, topic(claim.about)]
    if claim.only:
        parts.append("and nothing else")
    if claim.require:
        parts.append(f"by {', '.join(claim.require)}")
    held, mine = msgspec.structs.asdict(claim.thresholds), options_of(claim)
    if stated := [f"{n} = {float(v)}" for n, v in held.items() if n in mine and v != getattr(_DEFAULT, n)]:
        parts.append(f"[{', '.join(stated)}]")
    return " ".join(parts)


def topic(about: About) -> str:
    """The part of a claim that says what is there: `capital(France)`."""
    if not about.prompt:
        subject = f"({_quoted(about.subject)})" if about.subject else ""
        return about.relation + subject + (f"={_quoted(about.object)}" if about.object else "")
    head, tail = (part.translate(_ESCAPED) for part in about.prompt.split(SLOT))
    prompt = f'"{head}{{{about.subject.translate(_ESCAPED)}}}{tail}"'
    foil = f"{{{_quoted(about.foil_subject)}}} = {_quoted(about.foil_object)}"
    return f"{prompt} = {_quoted(about.object)} against {foil}"


def check(claim: Claim) -> Claim:
    """The claim in the fact base's own spelling; an object that is the fact's own is left out, another is kept.

    Raises `BadFact` for a relation, subject or object that the base does not have, and for a fact without a foil.
    """
    a = claim.about
    if a.prompt:
        resolve(Question(a.prompt, None, a.subject, a.object, a.foil_subject, a.foil_object))
        return claim
    about = About(find(a.relation).name)
    if a.subject:
        fact = resolve(Question(relation=about.relation, subject=a.subject)).facts[0]
        about = About(fact.relation, fact.subject)
        if a.object:
            like = resolve(Question(relation=about.relation, object=a.object, max_facts=1)).facts[0]
            about = msgspec.structs.replace(about, object="" if like.object == fact.object else like.object)
    return msgspec.structs.replace(claim, about=about)


def closed(claim: Claim, anatomy: Anatomy | None = None) -> Claim:
    """The claim with its sites, of which a `*` is all that the model has. Raises `BadSite`."""
    return msgspec.structs.replace(claim, sites=parse_sites(claim.open, anatomy), open="") if claim.open else claim


def options_of(claim: Claim) -> set[str]:
    """The options that its criteria are held against."""
    damage = ("contributes" if claim.predicate == "contributes to" else "necessary",)
    return {"alpha"}.union(*(HELD.get(criterion, damage) for criterion in claim.required))


def thresholds(given: Mapping[str, object]) -> Thresholds:
    """Thresholds from numbers, or text of them. Raises `LashleyError` for what is impossible or contradictory."""
    return _agreed(Thresholds(**{name: _threshold(name, value) for name, value in given.items()}))


def _agreed(held: Thresholds) -> Thresholds:
    if held.contributes > held.necessary:
        what = f"contributes = {held.contributes} is more than necessary = {held.necessary}, a contradiction"
        raise LashleyError(f"{what}; write a smaller contributes, or a larger necessary")
    return held


def _threshold(name: str, value: object) -> float:
    if name not in OPTIONS:
        raise LashleyError(f"no option {shown(name)}{near(name, OPTIONS)}; options are {', '.join(OPTIONS)}")
    most, words, _ = OPTIONS[name]
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise LashleyError(f"{name} is {shown(value)}, which is no number; write {name} = {getattr(_DEFAULT, name)}")
    if not 0 < number <= most:
        raise LashleyError(f"{name} = {number} is impossible; write a number {words}")
    return number


def shown(value: object) -> str:
    """In quotes, shortened, with control characters escaped."""
    return f"'{''.join(excerpt(str(value), width=40))}'"


def near(word: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing."""
    close = difflib.get_close_matches(word[:60].casefold(), list(names), n=2)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


class _Reader:
    """A claim's text, and the next character to read, which is no blank."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        if wrong := _CONTROL.search(text):
            raise self.bad("a control character; delete it", wrong.start())
        self.skip(0)

    def bad(self, why: str, at: int | None = None) -> BadClaim:
        return BadClaim(self.text, self.at if at is None else at, why)

    def skip(self, to: int) -> None:
        self.at = _BLANKS.match(self.text, to).end()  # pyright: ignore[reportOptionalMemberAccess]

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What comes next, if it is that, with the blanks behind it."""
        if found := pattern.match(self.text, self.at):
            self.at = found.end()
        return found

    def mark(self, mark: str) -> bool:
        """Whether that character comes next; if so, it is read."""
        if found := self.text.startswith(mark, self.at):
            self.skip(self.at + 1)
        return found

    def need(self, mark: str, where: str, example: str) -> None:
        if not self.mark(mark):
            raise self.bad(f"no {mark} {where}; write {example}")

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        """What stands between commas, with its offset."""
        for piece in self.text[start:end].split(","):
            word = piece.strip()
            yield start + (piece.index(word) if word else 0), word
            start += len(piece) + 1

    def sites(self) -> tuple[tuple[Site, ...], str]:
        """The sites; or none, and how they are written where a model has to say how many they are."""
        words = list(self.listed())
        if not words:
            raise self.bad("no site; write L4.mlp.n173 stores capital(France)")
        sites: set[Site] = set()
        for at, word in words:
            try:
                sites.update(_sites(word) if len(word) <= 64 else _sites.__wrapped__(word))
            except BadSite as e:
                raise self.bad(str(e), at) from e
        if any("*" in word for _, word in words):
            return (), "+".join(dict.fromkeys("".join(word.split()) for _, word in words))
        return tuple(sorted(sites, key=str)), ""

    def listed(self) -> Iterator[tuple[int, str]]:
        """The addresses that come next, with their offsets."""
        found = WORD.match(self.text, self.at)
        while found:
            yield found.start(), found[0]
            self.skip(found.end())
            join = JOIN.match(self.text, found.end())
            found = join and WORD.match(self.text, join.end())

    def predicate(self) -> Predicate:
        start = self.at
        if found := self.take(_PREDICATE):
            return PREDICATES[(found.lastindex or 0) - 1]
        words = self.text[start : start + 60].split()[:3]
        meant = next(filter(None, (near(" ".join(words[: n + 1]), PREDICATES) for n in range(len(words)))), "")
        raise self.bad(f"no predicate{meant}; write {', '.join(PREDICATES[:-1])} or {PREDICATES[-1]}")

    def fact(self) -> About:
        start = self.at
        found = self.take(_RELATION)
        relation = slug(found[0]) if found else ""
        if not relation or not _RELATION.fullmatch(relation):
            raise self.bad(f"no relation and no prompt; write {_EXAMPLE}", start)
        self.short(relation, start)
        if self.mark("("):
            subject = self.name("subject", "capital(France)")
            self.need(")", "after the subject", "capital(France); put a name with ()=[]{} in double quotes")
            return About(relation, subject, self.name("object", "=Paris") if self.mark("=") else "")
        if self.text.startswith("=", self.at):
            raise self.bad("an object without its subject; write capital(France)=Paris")
        return About(relation)

    def prompt(self) -> About:
        example = "= Paris against {Italy} = Rome"
        prompt, subject = self.sentence()
        self.need("=", "after the prompt", example)
        answer = self.name("object", example)
        if not self.take(_WORDS["against"]):
            raise self.bad(f"no against FOIL after the prompt's object; write {example}")
        self.need("{", "before the foil's subject", example[8:])
        at = self.at
        foil = self.name("subject of the foil", example[8:])
        if foil.casefold() == subject.casefold():
            raise self.bad("the foil's subject is that of the fact itself; choose another", at)
        self.need("}", "after the foil's subject", example[8:])
        self.need("=", "after the foil", example[8:])
        at = self.at
        other = self.name("object of the foil", example[8:])
        if other.casefold() == answer.casefold():
            raise self.bad("the foil's object is that of the fact itself; choose another", at)
        return About("", subject, answer, prompt, foil, other)

    def sentence(self) -> tuple[str, str]:
        """A prompt with `{}` for its subject, and the subject."""
        start = self.at + 1
        raw = self.quoted()
        braces = [b for b in _BRACES.finditer(raw) if b[0] in "{}"]
        if not braces:
            raise self.bad('no {SUBJECT} in the prompt; put its subject in braces, "The capital of {France} is"', start)
        if [b[0] for b in braces] != ["{", "}"]:
            wrong = next((b for b, want in zip(braces, ("{", "}", ""), strict=False) if b[0] != want), braces[-1])
            raise self.bad(r"more or less than one {SUBJECT}; write other braces as \{ and \}", start + wrong.start())
        a, b = (brace.start() for brace in braces)
        head, subject, tail = (self.plain(raw[i:j], start + i) for i, j in ((0, a), (a + 1, b), (b + 1, len(raw))))
        if not (subject := " ".join(subject.split())):
            raise self.bad("no subject in the braces; write {France}", start + a)
        self.short(subject, start + a)
        prompt = (head + SLOT + tail).strip()
        if prompt == SLOT:
            raise self.bad("the prompt asks nothing; write a sentence around its subject", start)
        if prompt.count(SLOT) != 1:
            raise self.bad("the prompt itself holds {}; only its subject may stand in braces", start)
        return prompt, subject

    def name(self, what: str, example: str) -> str:
        start = self.at
        if self.text.startswith('"', start):
            name = self.plain(self.quoted(), start + 1)
        else:
            found = self.take(_BARE)
            name = found[0] if found else ""
        if not (name := " ".join(name.split())):
            raise self.bad(f"no {what}; write {example}, and put a name with ()=[]{{}} in double quotes", start)
        self.short(name, start)
        return name

    def short(self, name: str, at: int) -> None:
        if len(name) > _LONGEST:
            raise self.bad(f"a name of {len(name):,} characters; names have at most {_LONGEST}", at)

    def quoted(self) -> str:
        found = self.take(_QUOTED)
        if not found:
            raise self.bad(r'a double quote that is not closed; write " at its end, and \" for one inside it')
        return found[1]

    def plain(self, raw: str, at: int) -> str:
        """What stands between quotes, without its escapes."""
        if wrong := next((e for e in _ESCAPE.finditer(raw) if e[1] not in _ESCAPES), None):
            raise self.bad(rf"no escape {shown(wrong[0])}; write \\ for a backslash", at + wrong.start())
        return _ESCAPE.sub(lambda e: _ESCAPES[e[1]], raw)

    def only(self, predicate: Predicate) -> bool:
        start = self.at
        found = self.take(_WORDS["and nothing else"])
        if found and predicate != "stores":
            raise self.bad('"and nothing else" goes with stores alone; delete it, or write stores', start)
        return bool(found)

    def criteria(self) -> tuple[str, ...]:
        """In the order of `CRITERIA`, without repetitions."""
        if not self.take(_WORDS["by"]):
            return ()
        end = self.text.find("[", self.at)
        end = len(self.text) if end < 0 else end
        asked: set[str] = set()
        for at, word in self.pieces(self.at, end):
            criterion = _words(word)
            if criterion not in CRITERIA:
                meant = near(criterion, CRITERIA) or ' (a name that holds "by" goes in double quotes)'
                raise self.bad(f"no criterion {shown(word)}{meant}; criteria are {', '.join(CRITERIA)}", at)
            asked.add(criterion)
        self.skip(end)
        return tuple(c for c in CRITERIA if c in asked)

    def options(self) -> dict[str, tuple[float, int]]:
        """Values and offsets of the options, by name."""
        start = self.at
        if not self.mark("["):
            return {}
        end = self.text.find("]", self.at)
        if end < 0:
            raise self.bad("a [ that is not closed; write [alpha = 0.01]", start)
        stated: dict[str, tuple[float, int]] = {}
        for at, piece in self.pieces(self.at, end):
            name, sign, value = piece.partition("=")
            name = _words(name)
            if not name or not sign:
                raise self.bad("an option is NAME = NUMBER; write [alpha = 0.01]", at)
            if name in stated:
                raise self.bad(f"{name} is given twice; give it once", at)
            stated[name] = self.number(name, value.strip(), at), at
        self.skip(end + 1)
        return stated

    def number(self, name: str, value: object, at: int) -> float:
        try:
            return _threshold(name, value)
        except LashleyError as e:
            raise self.bad(str(e), at) from e

    def end(self) -> None:
        if self.at < len(self.text):
            raise self.bad(
                f"{shown(self.text[self.at :].split()[0])} is not understood; after what is claimed come only "
                '"and nothing else", by CRITERIA and [OPTIONS], and a name with ()=[]{} goes in double quotes'
            )

    def thresholds(
        self,
        claim: Claim,
        stated: dict[str, tuple[float, int]],
        options: Mapping[str, object],
        defaults: Thresholds,
    ) -> Thresholds:
        end = len(self.text)
        for name, value in options.items():
            number = self.number(name, value, end)
            told, at = stated.setdefault(name, (number, end))
            if told != number:
                raise self.bad(f"{name} = {told} in the claim, and {number} beside it; give it once", at)
        mine = options_of(claim)
        for name, (value, at) in stated.items():
            if name not in mine:
                there = ", ".join(claim.required)
                raise self.bad(f"{name} = {value} is the threshold of no criterion of this claim; it has {there}", at)
        try:
            own = {n: getattr(defaults, n) for n in mine} | {n: v for n, (v, _) in stated.items()}
            return _agreed(Thresholds(**own))
        except LashleyError as e:
            at = max((at for n, (_, at) in stated.items() if n in ("contributes", "necessary")), default=end)
            raise self.bad(str(e), at) from e


@lru_cache(2**14)
def _sites(word: str) -> tuple[Site, ...]:
    """The sites of one address; () where a model has to say how many they are."""
    return () if address.read(word).open else parse_sites(word)


def _words(text: str) -> str:
    return " ".join(text.casefold().split())


def _quoted(name: str) -> str:
    """A name as it is, or in quotes where it has to be."""
    return name if _BARE.fullmatch(name) else '"' + name.replace("\\", r"\\").replace('"', r"\"") + '"'
