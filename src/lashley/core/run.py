"""One pass of a model over one sequence of tokens, and who is who in it."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from lashley.core.errors import BadSite
from lashley.core.site import Site

NOISE_SDS = 3.0  # embedding noise, in standard deviations of subject embeddings (ROME)


class EmbeddingNoise(msgspec.Struct, frozen=True):
    """Gaussian noise on the subject's embeddings (ROME, Meng et al. 2022, section 2).

    `sd` is in units of the residual stream entering layer 0; `seed` names the draw.
    """

    sd: float
    seed: int


class Run(msgspec.Struct, frozen=True):
    """A sequence of tokens with the roles of its positions, and, if corrupted so, its embedding noise.

    `begin` is the number of beginning-of-text tokens; `subject` the half-open span of the subject's tokens
    ((0, 0): none). `text` is what a person would have typed, or what a chat template `rendered` of it. `join` stands
    between the text and an answer, unset: one blank. (What is unset is no part of a run's identity.)
    """

    text: str
    tokens: tuple[int, ...]
    begin: int = 0
    subject: tuple[int, int] = (0, 0)
    noise: EmbeddingNoise | None = None
    join: str | UnsetType = UNSET
    rendered: bool | UnsetType = UNSET

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def sink(self) -> int:
        """How many first positions are never pooled with others: the beginning-of-text tokens, and without one position
        0. What is there attends to nothing else, whatever token it is, so models make it their attention sink, with
        activations a hundred times those of other positions (Xiao et al. 2309.17453, Sun et al. 2402.17762)."""
        return max(self.begin, 1)

    @property
    def sunk(self) -> bool:
        """Whether the subject's first token is the attention sink as well."""
        return self.subject[0] < self.sink <= self.subject[1]

    def role(self, position: int) -> str:
        """The one role a position is listed under. Where roles coincide: final, subject_last, subject_first; position 0
        is "begin" where it is none of these, also without a beginning-of-text token."""
        first, stop = self.subject
        if position == len(self) - 1:
            return "final"
        if first <= position < stop:
            return (
                "subject_last" if position == stop - 1 else "subject_first" if position == first else "subject_middle"
            )
        return "begin" if position < self.sink else "relation"

    def positions(self, role: str) -> tuple[int, ...]:
        """Every position that has `role`; first, last and final may coincide.

        >>> run = Run("The Eiffel Tower is", (1, 5, 6, 7, 8), begin=1, subject=(2, 4))
        >>> run.positions("subject_last"), run.positions("relation"), run.positions("subject_middle")
        ((3,), (1,), ())
        """
        first, stop = self.subject
        if role == "final":
            return (len(self) - 1,)
        if role == "subject":
            return tuple(range(first, stop))
        if role in ("subject_first", "subject_last") and stop > first:
            return (first if role == "subject_first" else stop - 1,)
        return tuple(i for i in range(len(self)) if self.role(i) == role)

    def resolve(self, site: Site) -> tuple[Site, ...]:
        """`site` with its role or negative index replaced by indices from 0. Raises `BadSite`."""
        at = site.position
        if at is None:
            return (site,)
        if isinstance(at, str):
            found = self.positions(at)
            if not found:
                raise BadSite(f"site {site}: {self.text!r} has no position in the role {at!r}; choose another role")
        else:
            found = (at + len(self) if at < 0 else at,)
            if not 0 <= found[0] < len(self):
                raise BadSite(f"site {site}: position {at} is outside {self.text!r}, which has {len(self)} tokens")
        return tuple(msgspec.structs.replace(site, position=i) for i in found)
