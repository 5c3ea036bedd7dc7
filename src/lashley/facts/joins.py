"""How an answer may continue a text: after one blank, or with none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from lashley.core.fact import BLANK

NONE = ""
ONLY = "blank only"
_WORDS = {"none": "no blank", "blank": "one blank"}

# Scripts that are written without blanks between words; Hangul has them.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_PLAIN = ",;:!?…)]}%"  # what a blank follows


def joins(text: str, answers: Iterable[str]) -> tuple[str, ...]:
    r"""The ways in which answers may continue a text, the likelier first; one where the text leaves no doubt.

    >>> joins("The capital of France is", ["Paris"]), joins("The capital of France:\n", ["Paris"])
    ((' ',), ('',))
    >>> joins('The capital of France is "', ["Paris"]), joins("法国的首都是", ["巴黎"]), joins("It began in 17", ["89"])
    (('', ' '), ('', ' '), ('', ' '))
    """
    last, before = text[-1:], text[-2:-1]
    if last.isspace():
        return (NONE,)
    begins = [a[0] for a in answers if a]
    if _UNSPACED.match(last) or last in "、。，：；！？" or any(map(_UNSPACED.match, begins)):
        return (NONE, BLANK)
    numbers = any(c.isdigit() for c in begins)
    if numbers and (last.isdigit() or (before.isdigit() and last in ",.:")):  # "in 17" and "89", "3." and "14"
        return (NONE, BLANK)
    if last in '.”»"' and not (last == '"' and text.count(last) % 2):
        return (BLANK, NONE)
    if not all(c.isalnum() for c in begins):
        return (BLANK, NONE)
    if last.isalnum() or unicodedata.category(last).startswith("M") or last in _PLAIN:
        return (BLANK,)
    if before.isspace() and unicodedata.category(last) in ("Pd", "Sm"):  # "France - Paris", "France = Paris"
        return (BLANK,)
    return (NONE, BLANK)


def told(code: str) -> str:
    """In words, how answers follow a template, and why so (the label `join`): `none` and `blank` with how many times as
    likely as the other, a `?` where that is in doubt; `none` alone after white space; `blank only` where the tokenizer
    leaves no choice; `typed` with a number of blanks; "": one blank, beyond doubt.

    >>> told("none 65"), told("blank? 1.3")
    ('no blank, 65 times as likely as one blank', 'one blank, 1.3 times as likely as no blank (in doubt)')
    """
    if code == ONLY:
        return "one blank, though none looks right: without one, the tokenizer writes the prompt's end otherwise"
    way, _, number = code.partition(" ")
    if way == "typed":
        return f"{number} blanks, as typed"
    if code == "none":
        return "no blank, after white space"
    if (bare := way.rstrip("?")) not in _WORDS:
        return code
    own, other = _WORDS[bare], _WORDS["blank" if bare == "none" else "none"]
    likelier = f"{other} is out of the question" if number == "inf" else f"{number} times as likely as {other}"
    return f"{own}, {likelier}{' (in doubt)' if way.endswith('?') else ''}"
