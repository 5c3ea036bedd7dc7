"""What is done at a site: frozen, storable changes."""

from __future__ import annotations

import msgspec

from lashley.core.run import Run


class Identity(msgspec.Struct, frozen=True, tag="identity"):
    """Write back what is there. Its effect is the numerical floor."""


class Zero(msgspec.Struct, frozen=True, tag="zero"):
    """Replace by 0. Alone it is never evidence (Li & Janson 2409.09951)."""


class Mean(msgspec.Struct, frozen=True, tag="mean"):
    """Replace by the mean over the reference runs' positions in the same role."""

    reference: tuple[Run, ...]


class Noise(msgspec.Struct, frozen=True, tag="noise"):
    """Replace by a Gaussian draw with the reference's mean and standard deviation at the same role."""

    reference: tuple[Run, ...]
    seed: int


class Patch(msgspec.Struct, frozen=True, tag="patch"):
    """Replace by the value in `source`, a run of equal length, at the same position."""

    source: Run


class Resample(msgspec.Struct, frozen=True, tag="resample"):
    """As `Patch`, the source being the run of another fact: a knockout that stays on the data."""

    source: Run


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """Replace by one vector at every position (float32 little-endian bytes, as wide as the site)."""

    vector: bytes


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Add `scale` times a vector (float32 little-endian bytes, as wide as the site)."""

    vector: bytes
    scale: float = 1.0


class ProjectOut(msgspec.Struct, frozen=True, tag="project_out"):
    """Remove the component along a vector (float32 little-endian bytes, as wide as the site)."""

    vector: bytes


class Block(msgspec.Struct, frozen=True, tag="block"):
    """Attention knockout: at an attention site, attention logits from its positions to `keys` become -inf (Geva et
    al. 2304.14767). A position left with nothing to attend to gets nothing."""

    keys: tuple[int, ...]


Edit = Identity | Zero | Mean | Noise | Patch | Resample | Constant | Add | ProjectOut | Block


def name(edit: Edit) -> str:
    """The edit's name as it stands in tables: `zero`, `mean`, `patch`, ..."""
    return str(edit.__struct_config__.tag)
