"""Claims as they are written, and which rows of an audit's table are about each."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

CLAIM = re.compile(
    r"^(?P<sites>\S+) (?P<predicate>stores|contributes to|is necessary for|is sufficient for) (?P<about>.*?)"
    r"(?P<only> and nothing else)?(?: by (?P<by>[^\[\]]*))?(?: \[(?P<options>[^\]]*)\])?$"
)
THRESHOLDS = {  # core.claim.Thresholds, by hand
    "necessary": 0.5, "sufficient": 0.5, "contributes": 0.05, "others": 0.1, "loss": 0.05, "second": 0.5,
    "fires": 0.5, "alpha": 0.05,
}  # fmt: skip
STORES = ("necessary", "sufficient", "specific", "better than chance", "stable under prompt", "stable under domain",
          "robust to method", "not redundant")  # fmt: skip
REQUIRED = {
    "stores": STORES,
    "is necessary for": ("necessary", "better than chance", "stable under prompt", "robust to method"),
    "is sufficient for": ("sufficient", "better than chance"),
    "contributes to": ("contributes", "better than chance"),
}


class Claim(NamedTuple):
    """One claim: its sites as text, its predicate, what it is about, its thresholds, and the criteria it needs."""

    text: str
    sites: str
    predicate: str
    about: str
    limits: dict[str, float]
    required: tuple[str, ...]

    @property
    def cluster(self) -> str:
        """Prompts of a fact are clustered by template, of a relation by subject."""
        return "template" if "(" in self.about or self.about.startswith('"') else "subject"

    @property
    def recall(self) -> float:
        """The damage that counts as recall lost, or for a contribution as anything."""
        return self.limits["contributes" if self.predicate == "contributes to" else "necessary"]


def parse(text: str) -> Claim:
    """
    >>> parse("L0.mlp contributes to capital(France) by necessary [alpha = 0.01]")[1:4]
    ('L0.mlp', 'contributes to', 'capital(France)')
    """
    m = CLAIM.match(text)
    assert m, f"no reader understands the claim {text!r}"
    options = dict(re.findall(r"(\w+) = ([\d.e-]+)", m["options"] or ""))
    limits = THRESHOLDS | {k: float(v) for k, v in options.items()}
    by = tuple(m["by"].split(", ")) if m["by"] else REQUIRED[m["predicate"]]
    required = (*by, *(["monosemantic"] if m["only"] and "monosemantic" not in by else []))
    return Claim(text, m["sites"], m["predicate"], m["about"], limits, required)


def topic(claims: list[Claim], claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows about what a claim is about; what claims are about is numbered as it comes."""
    abouts = list(dict.fromkeys(c.about for c in claims))
    return rows[rows["question"].astype(str) == str(abouts.index(claim.about))]


def own(claims: list[Claim], claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows about a claim. The sets of sites for one thing are numbered as they come; a sweep over all sets has a
    trial each, one about some names their numbers in `set`."""
    rows = topic(claims, claim, rows)
    number = list(dict.fromkeys(c.sites for c in claims if c.about == claim.about)).index(claim.sites)
    label = rows["set"].fillna("").astype(str)
    named = label.map(lambda s: str(number) in s.split()).astype(bool)
    return rows[named | ((label == "") & (rows["trial"] == number)).astype(bool)]
