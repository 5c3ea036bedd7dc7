"""Which of a relation's templates a search may use, and which confirm what it finds."""

from __future__ import annotations

from collections.abc import Sequence

from lashley.core.fact import Template

EVERY = 4  # one template in so many is for discovery
FEWEST = 8  # with fewer templates, none is set aside


def parts(templates: Sequence[Template], searched: bool = False) -> dict[str, tuple[Template, ...]]:
    """Templates for "discovery", "confirm" and "paraphrase", disjoint, in the order given.

    One in four is for discovery; of the others every second confirms, and the rest are paraphrases on which necessity
    is confirmed apart. Where nothing was `searched`, those for discovery do one or the other as well. With few
    templates none is set aside.

    >>> made = parts([Template(f"{i} {{}}") for i in range(16)], searched=True)
    >>> {name: len(of) for name, of in made.items()}
    {'discovery': 4, 'confirm': 6, 'paraphrase': 6}
    """
    discovery = tuple(templates[::EVERY]) if len(templates) >= FEWEST else ()
    left = [t for t in templates if t not in discovery]
    if not searched:
        left = list(templates)
    return {"discovery": discovery or tuple(left[:1]), "confirm": tuple(left[::2]), "paraphrase": tuple(left[1::2])}
