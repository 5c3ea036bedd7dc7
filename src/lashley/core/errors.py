"""What went wrong, why, and what to do next: in one line, never a traceback."""

from __future__ import annotations

import unicodedata


class LashleyError(Exception):
    """Base of every error that a user can cause and mend. The command line prints it and exits with 2."""


class BadFact(LashleyError):
    """A fact, relation, subject, template or foil that cannot be asked about."""


class BadSite(LashleyError):
    """A site that does not parse, or that lies outside the model."""


class BadModel(LashleyError):
    """A model that cannot be found, read or trusted."""


class UnknownFamily(BadModel):
    """An architecture without an adapter under `engine/families/`."""


class BadPrompt(LashleyError):
    """A prompt that is empty, too long, or that does not align with its counterpart."""


class StudyConflict(LashleyError):
    """A study folder that was made with another model, other parameters or another schema."""


class BrokenStudy(LashleyError):
    """A study folder that is half-written, corrupt, read-only, or on a full disk."""


class BadClaim(LashleyError):
    """A claim that does not parse, or that contradicts itself: `why`, and where in `text` (`at`, in characters).

    `where` names the file and line that it comes from, and `more` counts the other bad lines of that file.
    """

    def __init__(self, text: str, at: int, why: str, where: str = "", more: int = 0) -> None:
        super().__init__(text, at, why, where, more)
        self.text, self.at, self.where, self.more = text, at, where, more
        self.why = "".join(excerpt(why, width=290))

    def __str__(self) -> str:
        what, stop, do = self.why.partition("; ")
        shown = "".join(excerpt(self.text, self.at))
        return self._told(f"claim '{shown}': {what} at character {self.at}{stop}{do}")

    def pointed(self) -> str:
        """Three lines: the claim, a caret under the place, and why."""
        left, right = excerpt(self.text, self.at)
        columns = sum(_COLUMNS.get(unicodedata.east_asian_width(c), 1) for c in left if not unicodedata.combining(c))
        return f"{left}{right}\n{' ' * columns}^\n{self._told(self.why)}"

    def _told(self, why: str) -> str:
        begin = f"{self.where}: " if self.where else ""
        return begin + why + (f"; and {self.more} more line{'s' * (self.more > 1)}" if self.more else "")


_COLUMNS = {"W": 2, "F": 2}  # of a terminal


def excerpt(text: str, at: int = 0, width: int = 64) -> tuple[str, str]:
    r"""What stands before `at` and from there on: at most `width` characters together, control characters escaped.

    >>> excerpt("one\ntwo", 4), excerpt("0123456789" * 9, 45, 10)
    (('one\\n', 'two'), ('…1234', '5678…'))
    """
    left, right = _escaped(text[max(at - width - 1, 0) : at]), _escaped(text[at : at + width + 1])
    room = max(width // 2, width - len(right))
    left = left if len(left) <= room else "…" + left[len(left) - room + 1 :]
    room = width - len(left)
    return left, right if len(right) <= room else right[: room - 1] + "…"


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class BadPlant(LashleyError):
    """A plant that did not take: its truth, measured, is not what was intended."""


class BadCircuit(LashleyError):
    """A circuit that cannot be read, or whose edges the model does not have."""
