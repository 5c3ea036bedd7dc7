"""Ordinary English grammar: agreement, anaphora and plurals, as sentences and as minimal pairs.

Every sentence turns on one word (a verb, a reflexive, a noun after a quantifier) and belongs to one
combination of a noun, a verb and a distractor. Some combinations are held out from the training
corpus, whatever the numbers of their nouns, so that the rule can be told from the sentence.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import NamedTuple

HELD_OUT_SHARE = 0.15

# singular, plural
THINGS = (
    ("key", "keys"), ("cabinet", "cabinets"), ("door", "doors"), ("box", "boxes"), ("knife", "knives"),
    ("shelf", "shelves"), ("picture", "pictures"), ("letter", "letters"), ("bridge", "bridges"),
    ("clock", "clocks"), ("machine", "machines"), ("book", "books"), ("bottle", "bottles"),
    ("table", "tables"), ("chair", "chairs"), ("window", "windows"), ("leaf", "leaves"),
    ("tooth", "teeth"), ("foot", "feet"), ("loaf", "loaves"),
)  # fmt: skip
ANIMALS = (
    ("dog", "dogs"), ("cat", "cats"), ("horse", "horses"), ("mouse", "mice"), ("goose", "geese"),
    ("wolf", "wolves"), ("ox", "oxen"), ("child", "children"), ("person", "people"), ("teacher", "teachers"),
    ("doctor", "doctors"), ("author", "authors"), ("pilot", "pilots"), ("guard", "guards"),
)  # fmt: skip
HE = (
    ("man", "men"), ("boy", "boys"), ("king", "kings"), ("father", "fathers"), ("uncle", "uncles"),
    ("brother", "brothers"), ("prince", "princes"), ("waiter", "waiters"), ("actor", "actors"),
)  # fmt: skip
SHE = (
    ("woman", "women"), ("girl", "girls"), ("queen", "queens"), ("mother", "mothers"), ("aunt", "aunts"),
    ("sister", "sisters"), ("princess", "princesses"), ("waitress", "waitresses"), ("actress", "actresses"),
)  # fmt: skip
ANIMATE = ANIMALS + HE + SHE
NOUNS = THINGS + ANIMATE

# (singular verb, plural verb): what may follow
LINKING = {
    ("is", "are"): ("old", "new", "small", "large", "clean", "white"),
    ("was", "were"): ("old", "new", "small", "large", "near the wall", "in the garden"),
    ("looks", "look"): ("old", "new", "clean", "strange"),
    ("seems", "seem"): ("old", "small", "strange", "heavy"),
    ("has", "have"): ("a long history", "a new place", "a red mark", "no name"),
    ("falls", "fall"): ("slowly", "often", "to the ground"),
    ("moves", "move"): ("slowly", "again", "in the wind"),
    ("stays", "stay"): ("here", "at home", "in the city"),
}
LIVING = {
    ("walks", "walk"): ("slowly", "every day", "in the garden"),
    ("runs", "run"): ("fast", "every day", "to the river"),
    ("sleeps", "sleep"): ("well", "at night", "in the house"),
    ("waits", "wait"): ("outside", "every day", "at home"),
    ("eats", "eat"): ("slowly", "at night", "in the house"),
    ("drinks", "drink"): ("water", "every day", "at night"),
}
TRANSITIVE = (("likes", "like"), ("sees", "see"), ("follows", "follow"), ("helps", "help"), ("knows", "know"))
REFLEXIVE = ("hurt", "saw", "praised", "helped", "blamed", "washed", "found", "described")
PREPOSITIONS = ("near", "behind", "next to", "with", "in front of")
FRAMES = ("We saw", "There are", "They counted", "I remember", "She drew", "He found")
MANY = ("two", "three", "four", "many", "several", "these")
ONE = ("one", "a single", "every", "each", "only one", "this")
ONE_FRAMES = ("We saw", "They counted", "I remember", "She drew", "He found", "You know")


class Grammar(NamedTuple):
    """A sentence that turns on one word: `prefix + " " + good + after`; `bad` breaks the rule."""

    prefix: str
    good: str
    bad: str
    after: str
    kind: str
    combination: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """Whether the combination is kept out of the training corpus."""
        return share("grammar", *self.combination) < HELD_OUT_SHARE


def share(*parts: str) -> float:
    """A number in [0, 1) that depends on `parts` alone: the same on every machine and in every run."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _agreement(rng: random.Random, contrary: bool) -> Grammar:
    """Subject and verb; with a distractor of the other number when `contrary`, else of any number."""
    kind = rng.choice(("agreement", "agreement over a phrase", "agreement over a clause"))
    clause = kind == "agreement over a clause"
    noun = rng.choice(ANIMATE if clause else NOUNS)
    verbs = LINKING | LIVING if noun in ANIMATE else LINKING
    verb = rng.choice(list(verbs))
    number = rng.randrange(2)
    subject, distractor = f"The {noun[number]}", ("",)
    if kind == "agreement":
        prefix = subject
    else:
        other = 1 - number if contrary else rng.randrange(2)
        distractor = rng.choice([n for n in (ANIMATE if clause else NOUNS) if n is not noun])
        if not clause:
            prefix = f"{subject} {rng.choice(PREPOSITIONS)} the {distractor[other]}"
        elif rng.random() < 0.5:
            prefix = f"{subject} that the {distractor[other]} {rng.choice(TRANSITIVE)[other]}"
        else:
            prefix = f"{subject} who {rng.choice(TRANSITIVE)[number]} the {distractor[other]}"
    after = f" {rng.choice(verbs[verb])}."
    return Grammar(prefix, verb[number], verb[1 - number], after, kind, (noun[0], verb[0], distractor[0]))


def _anaphora(rng: random.Random, contrary: bool) -> Grammar:
    """A reflexive pronoun and its antecedent, past a noun that would ask for another pronoun."""
    noun = rng.choice(HE + SHE)
    number = rng.randrange(2)
    distractor = rng.choice([n for n in HE + SHE if n is not noun])

    def pronoun(word: tuple[str, str], plural: int) -> str:
        return "themselves" if plural else "himself" if word in HE else "herself"

    good = pronoun(noun, number)
    other = rng.randrange(2)
    if contrary and pronoun(distractor, other) == good:
        other = 1 - number
    bad = pronoun(distractor, other)
    if bad == good:
        bad = pronoun(noun, 1 - number)
    verb = rng.choice(REFLEXIVE)
    if rng.random() < 0.5:
        prefix = f"The {noun[number]} {rng.choice(PREPOSITIONS)} the {distractor[other]} {verb}"
    else:
        prefix = f"The {noun[number]} who {rng.choice(TRANSITIVE)[number]} the {distractor[other]} {verb}"
    return Grammar(prefix, good, bad, ".", "anaphora", (noun[0], verb, distractor[0]))


def _plural(rng: random.Random, contrary: bool) -> Grammar:
    """A noun after a word that counts it; irregular plurals among them."""
    noun = rng.choice(NOUNS)
    number = rng.randrange(2)
    word, frame = rng.choice((ONE, MANY)[number]), rng.choice((ONE_FRAMES, FRAMES)[number])
    return Grammar(f"{frame} {word}", noun[number], noun[1 - number], ".", "plural", (word, noun[0]))


def sentences(rng: random.Random, contrary: bool = False) -> Iterator[Grammar]:
    """Sentences without end; with `contrary`, every distractor points to the wrong word."""
    while True:
        yield rng.choice((_agreement, _agreement, _agreement, _anaphora, _plural))(rng, contrary)


def agreement_pairs(held_out: bool = True, count: int = 1000) -> list[tuple[str, str, str, str]]:
    """`count` different minimal pairs (prefix, good, bad, kind); `good` and `bad` follow a space.

    With `held_out`, combinations that no training sentence has; else combinations that some may have.
    A distractor always points to the wrong word.
    """
    pairs: dict[tuple[str, str, str, str], None] = {}
    for s in sentences(random.Random("pairs"), contrary=True):
        if s.held_out == held_out:
            pairs[s.prefix, s.good, s.bad, s.kind] = None
            if len(pairs) == count:
                return list(pairs)
    raise AssertionError("sentences() is endless")
