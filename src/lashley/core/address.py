"""How sites are written: their forms, the names that other tools give them, and lists.

Every form is a line of `FORMS`, `HOOKS`, `NO_SITES` or `MODULES`; what is read and what `lashley claims` explains come
from these tables alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lashley.core.errors import BadSite, excerpt

Kind = Literal["resid", "attn", "mlp", "head", "neuron"]
KINDS: tuple[Kind, ...] = ("resid", "attn", "mlp", "head", "neuron")
MOST = 1024  # sites that one address with lists may stand for
LARGEST = 2**31 - 1  # layers, units and positions are int32 in tables of sites
Span = tuple[int, int]  # first and last


class Form(NamedTuple):
    """How one kind of site is written: what follows the layer, an example, and what it is."""

    stem: str
    example: str
    what: str


FORMS: dict[Kind, Form] = {
    "resid": Form("resid", "L7.resid", "the residual stream entering layer 7 (L0.resid: the embeddings)"),
    "attn": Form("attn", "L7.attn", "what attention adds to the residual stream, after a post-norm where there is one"),
    "mlp": Form("mlp", "L7.mlp", "what the MLP adds to the residual stream, after a post-norm where there is one"),
    "head": Form("attn.h", "L7.attn.h3", "head 3's part of the input of attention's output projection"),
    "neuron": Form("mlp.n", "L7.mlp.n173", "number 173 of the input of the MLP's output projection"),
}
ROLES = {
    "begin": "the beginning-of-text token, or the first position where there is none",
    "subject_first": "the first token of the subject",
    "subject_middle": "the tokens between its first and its last",
    "subject_last": "the last token of the subject",
    "relation": "what stands around the subject, but for the last token of the prompt",
    "final": "the last token of the prompt, after which the answer comes",
}
LISTS = {  # how several sites are written at once -> what that is
    "L4.mlp.n173+L5.attn.h1": "several sites, joined with +, a comma or a blank",
    "L7.attn.h0,2,5": "several units",
    "L3.mlp.n1-20": "a range, both ends included",
    "L3-5.mlp": "the same of layers; L0,2,5.mlp too",
    "L7.attn.h*": "all units that the model has",
    "L*.attn": "all layers that the model has",
}
HOOKS: dict[str, tuple[Kind, int]] = {  # TransformerLens' name in a block -> kind, layers to add
    "hook_resid_pre": ("resid", 0),
    "hook_resid_post": ("resid", 1),
    "hook_attn_out": ("attn", 0),
    "hook_mlp_out": ("mlp", 0),
    "attn.hook_z": ("head", 0),
    "mlp.hook_post": ("neuron", 0),
}
_SCALE = "a norm's inside is no site; write L7.resid for what enters layer 7"
NO_SITES = {  # TransformerLens' other names -> why each is no site, and what to write
    "attn.hook_q": "a query is no site; write attn.hook_z[3] for what head 3 hands on",
    "attn.hook_k": "a key is no site; write attn.hook_z[3] for what head 3 hands on",
    "attn.hook_v": "a value is no site; write attn.hook_z[3] for what head 3 hands on",
    "attn.hook_rot_q": "a query is no site; write attn.hook_z[3] for what head 3 hands on",
    "attn.hook_rot_k": "a key is no site; write attn.hook_z[3] for what head 3 hands on",
    "attn.hook_result": "a head is edited before its output matrix; write attn.hook_z[3]",
    "attn.hook_pattern": "attention weights are no site; write `lashley attention` to cut them",
    "attn.hook_attn_scores": "attention weights are no site; write `lashley attention` to cut them",
    "hook_resid_mid": "between attention and MLP there is no site; write L7.attn for what attention added",
    "mlp.hook_pre": "a neuron is edited after its activation; write mlp.hook_post[173]",
    "mlp.hook_pre_linear": "a neuron is edited after its activation; write mlp.hook_post[173]",
    "mlp.hook_mid": "a neuron is edited after its activation; write mlp.hook_post[173]",
    "hook_attn_in": "what one sub-layer alone reads is no site; write L7.resid",
    "hook_q_input": "what one sub-layer alone reads is no site; write L7.resid",
    "hook_k_input": "what one sub-layer alone reads is no site; write L7.resid",
    "hook_v_input": "what one sub-layer alone reads is no site; write L7.resid",
    "hook_mlp_in": "what one sub-layer alone reads is no site; write L7.resid",
    "hook_pos_embed": "positions are no site of their own; write L0.resid",
    **dict.fromkeys(
        (f"{ln}.hook_{x}" for ln in ("ln1", "ln2", "ln1_post", "ln2_post") for x in ("scale", "normalized")), _SCALE
    ),
    **dict.fromkeys(("ln_final.hook_scale", "ln_final.hook_normalized"), _SCALE),
}
MODULES = {  # what a module of the Hugging Face library is called in its layer -> the site to write
    "": "L{0}.resid for what enters it, or L{1}.resid for what leaves it",
    "attn": "L{0}.attn for what it adds to the residual stream, or L{0}.attn.h3 for a head",
    "mlp": "L{0}.mlp for what it adds to the residual stream, or L{0}.mlp.n173 for a neuron",
    "norm": "L{0}.resid for what enters the layer, or L{0}.attn and L{0}.mlp for what its parts add",
}

_LIST = r"\*|[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*"
_AT = r"(?:@(-?[0-9]+|[a-z_]+))?"
_STEMS = "|".join(
    re.escape(form.stem) + (f"(?P<{kind}>{_LIST})" if form.stem[-2] == "." else f"(?P<{kind}>)")
    for kind, form in FORMS.items()
)
_SITE = re.compile(rf"L({_LIST})\.(?:{_STEMS}){_AT}")
_HOOK = re.compile(rf"(?:blocks\.([0-9]+)\.)?([a-z0-9_.]*?hook_[a-z_]+)(?:\[({_LIST})\])?{_AT}")
_MODULE = re.compile(r"(?:[a-z_]+\.)*(?:layers|h)[.\[]([0-9]{1,9})\]?((?:\.[a-z0-9_]+)*)(?:@.*)?")
_COMMA = re.compile(r"\s*,\s*")
WORD = re.compile(r"[^\s+,]+(?:\s*,\s*(?=[0-9*])[^\s+,]+)*")  # one address: a comma before a digit belongs to it
JOIN = re.compile(r"\s*[+,]\s*|\s+(?=L[0-9*]|blocks\.|hook_)")  # between two of them, where other words may follow
_ANY = re.compile(r"\s*[+,]\s*|\s+")  # the same, where nothing else follows


class Address(NamedTuple):
    """What one word says: layers and units as spans (None: all that the model has; units (): of no unit), and a
    position as in `Site`."""

    layers: tuple[Span, ...] | None
    kind: Kind
    units: tuple[Span, ...] | None
    position: int | str | None

    @property
    def open(self) -> bool:
        """Whether it needs a model to say how many sites it is."""
        return self.layers is None or self.units is None


def read(text: str) -> Address:
    """One address, canonical or TransformerLens', perhaps with lists. Raises `BadSite`."""
    word = _COMMA.sub(",", text.strip())
    if m := _SITE.fullmatch(word):
        kind: Kind = next(k for k in KINDS if m[k] is not None)
        return Address(_spans(m[1], text), kind, _spans(m[kind], text), _position(m[m.re.groups], text))
    if m := _HOOK.fullmatch(word):
        return _hook(m, text)
    if m := _MODULE.fullmatch(word):
        raise BadSite(f"site {shown(text)} is a module, which has an input and an output; write {_module(m)}")
    raise BadSite(
        f"site {shown(text)} does not parse; write {', '.join(f.example for f in FORMS.values())}, "
        "with @subject_last or @-1 for one position, and + between several"
    )


def words(text: str) -> Iterator[str]:
    """The addresses of a list, joined with `+`, commas or blanks. Raises `BadSite` for what stands beside them."""
    text, at = text.strip(), 0
    while found := WORD.match(text, at):
        yield found[0]
        at = found.end()
        join = _ANY.match(text, at)
        if at == len(text):
            return
        if not join:
            break
        at = join.end()
    rest = text[at:].strip()
    raise BadSite(f"site {shown(rest)} does not parse; write L4.mlp.n173, and + between several")


def shown(text: str) -> str:
    """In quotes, shortened, with control characters escaped."""
    return f"'{''.join(excerpt(text, width=64))}'"


def _spans(text: str, whole: str) -> tuple[Span, ...] | None:
    """`0,2-5` as ((0, 0), (2, 5)); () for no text, None for a star."""
    if text == "*":
        return None
    ends = [part.partition("-") for part in text.split(",") if part]
    if any(len(number) > 10 or int(number or 0) > LARGEST for first, _, last in ends for number in (first, last)):
        raise BadSite(f"site {shown(whole)} lies in no model; write layers, units and positions up to {LARGEST}")
    spans = tuple((int(first), int(last or first)) for first, _, last in ends)
    if wrong := next((f"{a}-{b}" for a, b in spans if a > b), ""):
        raise BadSite(f"site {shown(whole)}: the range {wrong} is empty; write the smaller number first")
    return spans


def _position(at: str | None, text: str) -> int | str | None:
    if at is None:
        return None
    if at.lstrip("-").isdigit():
        _spans(at.lstrip("-"), text)
        return int(at)
    if at not in ROLES and at != "subject":
        raise BadSite(
            f"site {shown(text)}: no role {shown(at)}; roles are {', '.join(ROLES)}, subject, or write an index"
        )
    return at


def _hook(m: re.Match[str], text: str) -> Address:
    """A name of TransformerLens as an address."""
    layer, name, units, at = m.groups()
    if name == "hook_embed" and not layer and not units:
        return Address(((0, 0),), "resid", (), _position(at, text))
    if name not in HOOKS or not layer:
        raise BadSite(f"site {shown(text)}: {_not_known(name)}; known are {_known()}")
    kind, shift = HOOKS[name]
    if (units is None) == (kind in ("head", "neuron")):
        raise BadSite(f"site {shown(text)}: write {name}[UNIT] for heads and neurons, and no [UNIT] elsewhere")
    _spans(layer, text)
    layers = _spans(str(int(layer) + shift), text)
    return Address(layers, kind, _spans(units or "", text), _position(at, text))


def _known() -> str:
    return f"hook_embed, and blocks.7.{', '.join(map(example, HOOKS))}"


def example(name: str) -> str:
    """A name of `HOOKS`, with a unit where it has units."""
    return f"{name}[3]" if HOOKS[name][0] in ("head", "neuron") else name


def _not_known(name: str) -> str:
    last = {n.rpartition(".")[2]: n for n in (*NO_SITES, *HOOKS)}
    full = name if name in NO_SITES else last.get(name.rpartition(".")[2], "")
    if full in NO_SITES:
        return NO_SITES[full]
    meant = full or next(iter(difflib.get_close_matches(name[:60], HOOKS, n=1)), "")
    return f"no hook {shown(name)}; write {f'blocks.7.{example(meant)}' if meant else 'a known one'}"


def _module(m: re.Match[str]) -> str:
    inside = m[2].lstrip(".")
    first = inside.split(".")[0]
    norm = "norm" in inside or first.startswith("ln")  # before attention, whose norms have its name
    part = "norm" if norm else "attn" if "att" in first else "mlp" if first else ""
    return MODULES[part].format(int(m[1]), int(m[1]) + 1)
