"""How a page may call a site: its address, or layers, kinds and roles in words."""

from __future__ import annotations

import re

import pandas as pd

from .known import Tag

KINDS = {
    "resid": ("residual stream",),
    "attn": ("attention output", "attention outputs"),
    "mlp": ("MLP output", "MLP outputs"),
}
ROLES = {
    "subject_first": ("first subject token", "subject first"),
    "subject_last": ("last subject token", "last subject token’s", "subject last"),
    "subject_middle": ("subject middle", "middle subject"),
    "relation": ("relation positions", "relation tokens", "relation token", "relation"),
    "final": ("final token", "final"),
    "begin": ("beginning-of-text token", "begin", "beginning-of-text position", "beginning of the text"),
}
ORDER = ["begin", "subject_first", "subject_middle", "subject_last", "relation", "final"]


def layers(site: str) -> tuple[int, int]:
    """First and last layer of a site or a window of sites.

    >>> layers("L3.attn@5+L4.attn@5"), layers("L0.mlp.n17")
    ((3, 4), (0, 0))
    """
    found = [int(x) for x in re.findall(r"L(\d+)\.", site)]
    return min(found), max(found)


def spans(sites: pd.Series) -> pd.Series:
    """`L3`, or `L3-5` of a window, for every site."""
    known = {site: layers(site) for site in sites.unique()}
    words = {site: f"L{a}" if a == b else f"L{a}-{b}" for site, (a, b) in known.items()}
    return sites.map(words)


def layer_words(span: str) -> Tag:
    """How a text may name `L3` or `L3-5`."""
    first, _, last = span[1:].partition("-")
    if not last:
        return (f"layer {first}", f"layers {first} and", f"L{first}")
    joined = [f"{word} {first}{to}{last}" for word in ("layers", "layer") for to in (" to ", "–", "-", " and ")]
    return (*joined, f"L{first}-{last}")


def role_words(role: str) -> Tag:
    return (role, role.replace("_", " "), f"@{role}", *ROLES.get(role, ()))


def canonical(text: str, at: str) -> list[str]:
    """The sites of `--units`, each as the tables call it, with the place that it has: its own, or `at`.

    >>> canonical("L0.mlp@subject_last+blocks.3.attn.hook_z[1]", "final")
    ['L0.mlp@subject_last', 'L3.attn.h1@final']
    """
    out = []
    for each in text.split("+"):
        site, _, place = each.strip().partition("@")
        site = re.sub(r"^blocks\.(\d+)\.attn\.hook_z\[(\d+)\]$", r"L\1.attn.h\2", site)
        site = re.sub(r"^blocks\.(\d+)\.mlp\.hook_post\[(\d+)\]$", r"L\1.mlp.n\2", site)
        place = place or ("" if at == "all" else at)
        out.append(f"{site}@{place}" if place else site)
    return out


def placed(site: str, at: str) -> str:
    """A measured site with its positions called by their role.

    >>> placed("L0.mlp.n3@4+L0.mlp.n3@5", "subject"), placed("L0.mlp", "all")
    ('L0.mlp.n3@subject', 'L0.mlp')
    """
    own = dict.fromkeys(re.sub(r"@\d+$", f"@{at}", each) for each in site.split("+"))
    return "+".join(own)
