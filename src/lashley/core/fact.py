"""Facts of the world, and the sentences that ask for them."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from lashley.core.errors import BadFact, LashleyError

SLOT = "{}"
BLANK = " "


def sound(text: str, what: str, error: type[LashleyError] = BadFact) -> str:
    """`text`, where a tokenizer can take it. Raises `error` for a NUL, and for half a character: an unpaired surrogate,
    as which bytes that are not UTF-8 come from the command line."""
    if bad := next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None):
        why = "a NUL character" if bad == "\0" else "half a character, or bytes that are not UTF-8"
        raise error(f"{what} {text!r} holds {why} ({bad!r}), which no tokenizer takes; leave it out")
    return text


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence with a `{}` where the subject goes; what comes next is the object.

    The text ends where the answer begins, without a trailing blank: `The capital of {} is`. `join` stands between the
    two; unset, it is found out (see `prompts.joining`), and `joined` says how, as a code (`joins.told`). `before` is
    text that stands before it, with its own last blank, and `context` says of what kind that is. `chat`: all this is a
    message to a chat model, and the answer begins its reply.
    """

    text: str
    register: str = "statement"  # statement, question, dialogue, list
    language: str = "en"
    before: str = ""
    context: str = ""
    join: str | UnsetType = UNSET
    joined: str = ""
    chat: bool = False

    def __post_init__(self) -> None:
        if self.text.count(SLOT) != 1:
            raise BadFact(
                f"template {self.text!r} has {self.text.count(SLOT)} slots; write exactly one {{}} for the subject"
            )

    def fill(self, subject: str) -> str:
        """The prompt for `subject`.

        >>> Template("The capital of {} is").fill("France")
        'The capital of France is'
        """
        return self.before + self.text.replace(SLOT, subject)


class Fact(msgspec.Struct, frozen=True):
    """One association: `relation(subject) = object`."""

    relation: str
    subject: str
    object: str

    def __str__(self) -> str:
        return f"{self.relation}({self.subject})={self.object}"


class Relation(msgspec.Struct, frozen=True):
    """A functional relation: its templates and its facts (subject -> object), with their source.

    `names[language]` translates subjects and objects for templates that are not English;
    a name that is missing there is the same in both languages. `aliases[object]` are other names that count as the
    object ("the United States").
    """

    name: str
    source: str
    templates: tuple[Template, ...]
    objects: dict[str, str]
    names: dict[str, dict[str, str]] = {}
    aliases: dict[str, tuple[str, ...]] = {}

    def facts(self) -> tuple[Fact, ...]:
        return tuple(Fact(self.name, s, o) for s, o in self.objects.items())

    def candidates(self, language: str = "en") -> tuple[str, ...]:
        """Every distinct object with its aliases, in order of first appearance, in `language`."""
        return tuple(dict.fromkeys(name for o in self.objects.values() for name in self.called(o, language)))

    def called(self, object: str, language: str = "en") -> tuple[str, ...]:
        """The names of an object in `language`: its own, its aliases, and those of which it is one.

        >>> us = Relation("in", "", (), {"Boston": "USA"}, aliases={"USA": ("the USA", "United States")})
        >>> us.called("USA"), us.called("United States"), us.called("Peru")
        (('USA', 'the USA', 'United States'), ('United States', 'USA', 'the USA'), ('Peru',))
        """
        if not self.aliases:
            return (self.say(object, language),)
        groups = ((own, *others) for own, others in self.aliases.items())
        every = (object, *(name for group in groups if object in group for name in group))
        return tuple(dict.fromkeys(self.say(name, language) for name in every))

    def alike(self, one: str, other: str) -> bool:
        """Whether two objects are the same under other names."""
        return one == other or other in self.called(one)

    def say(self, name: str, language: str) -> str:
        return self.names.get(language, {}).get(name, name)
