"""At load, the fast path answers for itself: packed replay against full forward passes under hooks."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import torch

from lashley.core.edit import Patch, Zero
from lashley.core.errors import BadModel
from lashley.core.readout import LogitDifference
from lashley.core.run import Run
from lashley.core.site import Site, Sites
from lashley.core.trial import Sweep
from lashley.engine.bench import Bench
from lashley.engine.capture import Base
from lashley.engine.model import Model
from lashley.engine.planner import Route
from lashley.engine.pretrained import line

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,
    torch.bfloat16: 0.5,
    torch.float16: 0.1,
}  # logits / spread
LEAST = 4  # positions and tokens
PACKED: tuple[Route, ...] = ("suffix", "whole")


def checked(model: Model) -> Bench:
    """A bench whose fast path agrees with the slow one on this very model; if not, the slow one, with a warning.

    Raises `BadModel` where the model does not run, or the unembedding, or a site, is not what the adapter says it is.
    """
    bench, plain = Bench(model), Bench(model, "plain")
    if (context := model.anatomy.context) < LEAST or model.anatomy.vocabulary < LEAST:
        raise BadModel(
            f"{model.name} has {context} positions and {model.anatomy.vocabulary} tokens, and no question fits fewer "
            f"than {LEAST}; choose another model"
        )
    sweeps = _questions(model)
    try:
        witness = _witness(model, sweeps[0].clean)
    except Exception as e:  # what its configuration promises and its layers cannot do
        raise BadModel(f"{model.name} does not run ({line(e)}); choose another model") from e
    limit = TOLERANCE[model.dtype] * witness["spread"]
    if not witness["difference"] <= limit:  # NaN too
        raise BadModel(
            f"{model.name}: logits computed here differ from the model's own by {witness['difference']:.2g}; "
            f"the adapter for {model.anatomy.family!r} does not fit this model"
        )
    if not witness["unexplained"] <= 1:
        raise BadModel(
            f"{model.name}: the sites attn and mlp are not what is added to the residual stream; "
            f"the adapter for {model.anatomy.family!r} does not fit this model"
        )
    if not witness["misplaced"] <= 1:
        raise BadModel(
            f"{model.name}: the sites of heads and neurons are not what attn and mlp are made from; "
            f"the adapter for {model.anatomy.family!r} does not fit this model"
        )
    if not model.family.packed:
        plain.checked = f"plain: {model.anatomy.family} has no fast path"
        return plain
    slow = _answers(plain, sweeps)
    try:
        fast = [_answers(_By(model, route), sweeps) for route in PACKED]
        worst = float(np.abs(np.stack(fast) - slow).max())
    except Exception as e:  # whatever a model unlike the others can raise
        worst = float("inf")
        warnings.warn(f"{model.name}: the fast path failed ({e})", stacklevel=2)
    if not worst <= limit:
        warnings.warn(
            f"{model.name}: the fast path differs from plain passes by {worst:.2g} logits; the slow path is used",
            stacklevel=2,
        )
        bench = plain
    bench.checked = f"{bench.path}: largest difference {worst:.2g} logits over {len(slow)} edits"
    return bench


class _By(Bench):
    """A bench that goes one way with every sweep, whatever it costs."""

    def __init__(self, model: Model, way: Route):
        super().__init__(model)
        self._way: Route = way

    def route(self, sweep: Sweep) -> Route:
        return self._way


def _questions(model: Model) -> list[Sweep]:
    """Every kind of site in the first, a middle and the last layer; patches on one prompt, zeros on a longer one
    side by side with it; at an early position, the last, and all of them in turn."""
    draw = np.random.default_rng(0)

    def run(length: int) -> Run:
        return Run("self-test", tuple(int(t) for t in draw.integers(3, model.anatomy.vocabulary - 1, length)))

    sweeps = []
    for turn, length in enumerate(min(length, model.anatomy.context) for length in (5, 8)):
        clean, corrupt = run(length), run(length)
        at = (2, length - 1, None)
        sites = [(msgspec.structs.replace(s, position=at[(i + turn) % 3]),) for i, s in enumerate(_sites(model))]
        edit = Zero() if turn else Patch(corrupt)
        sweeps.append(Sweep(clean, corrupt, "damage", (edit,), Sites.of(sites), LogitDifference((1,), (2,))))
    return sweeps


def _sites(model: Model) -> list[Site]:
    a = model.anatomy
    layers = sorted({0, a.layers // 2, a.layers - 1})
    return [Site(la, k, a.units(k) - 1 if k in ("head", "neuron") else None) for la in layers for k in a.kinds]


def _answers(bench: Bench, sweeps: list[Sweep]) -> np.ndarray:
    return np.concatenate([c.values for chunks in bench.run(sweeps) for c in chunks])


@torch.no_grad()
def _witness(model: Model, run: Run) -> dict[str, float]:
    """The model's own logits against those from its hidden states by our unembedding; what of the residual stream's
    growth `attn` and `mlp` do not explain, and of these the heads and neurons, in units of the rounding that is
    expected."""
    ids = torch.tensor([run.tokens], device=model.device)
    ours = model.logits(model.forward(ids))
    own = model.module(input_ids=ids, use_cache=False).logits.to(ours.dtype)
    base = Bench(model).captures.get([run], model.anatomy.kinds)[0]
    resid, rounding = base.acts["resid"], 16 * torch.finfo(model.dtype).eps
    left = resid[1:] - resid[:-1] - base.acts["attn"] - base.acts["mlp"]
    return {
        "difference": float((own - ours).abs().max()),
        "spread": max(float(own.std()), 1e-6),
        "unexplained": float(left.abs().max() / resid.abs().max()) / rounding,
        "misplaced": _misplaced(model, base) / rounding,
    }


def _misplaced(model: Model, base: Base) -> float:
    """Largest relative difference of what follows from the head and neuron activations to what was seen: through
    the output projection, and the norm after it if there is one, they are `attn` and `mlp`; and as the first token
    sees itself alone, its heads are its values."""
    fam, acts = model.family, base.acts
    sides = [(acts["head"], fam.heads, acts["attn"], fam.attn)]
    if fam.neurons is not None:
        sides.append((acts["neuron"], fam.neurons, acts["mlp"], fam.mlp))
    pairs = []
    try:
        for inputs, projection, outputs, last in sides:
            for block, x, seen in zip(model.blocks, inputs, outputs, strict=True):
                x = block.get_submodule(projection)(x)
                pairs.append((x if last == projection else block.get_submodule(last)(x), seen))
        for heads, values in zip(acts["head"], base.values, strict=False):  # none where attention is not ours
            pairs.append((heads[0], values[:, 0].repeat_interleave(model.anatomy.heads // len(values), 0).flatten()))
        return max(float((x - seen).abs().max() / seen.abs().max().clamp(min=1e-6)) for x, seen in pairs)
    except RuntimeError:  # shapes that do not follow
        return float("inf")
