"""Facts made askable: aligned pairs of runs with their answers, and what was left out and why."""

from __future__ import annotations

import msgspec
import numpy as np

from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadPrompt
from lashley.core.fact import Fact, Template
from lashley.core.readout import LogitDifference
from lashley.core.run import Run
from lashley.core.site import Kind, Site
from lashley.core.trial import Sweep


class Case(msgspec.Struct, frozen=True):
    """One fact under one template against one foil.

    `corrupt` is the foil's run (`corruption` = "replace") or the clean run with noise on the subject's
    embeddings ("noise"). All runs have as many tokens as `clean`, which `target` and `foil_tokens` continue.
    `answer` and `foil_answer` are the names that are measured where they are not the objects' own.
    `donor` is the foil's run, whatever the corruption; None where it has another number of tokens.
    """

    fact: Fact
    foil: Fact
    template: Template
    clean: Run
    corrupt: Run
    donor: Run | None
    target: tuple[int, ...]
    foil_tokens: tuple[int, ...]
    words: tuple[str, ...]  # the clean run's tokens as strings
    corruption: str = "replace"
    split: str = ""  # whether training stated this fact so: "trained", "held out", "" (not known)
    seed: int = 0
    answer: str = ""
    foil_answer: str = ""

    @property
    def other(self) -> Run:
        """The foil's run, to patch from. Raises `BadPrompt` where it has another number of tokens than `clean`."""
        if not self.foil.subject:
            raise BadPrompt("what is patched in comes from another subject's run; give a foil subject")
        if self.donor is None:
            raise BadPrompt(f"{self.foil.subject!r} has another number of tokens than {self.fact.subject!r}")
        return self.donor

    @property
    def readout(self) -> LogitDifference:
        return LogitDifference(self.target, self.foil_tokens)

    def labels(self, **more: str) -> dict[str, str]:
        """What tables say of this case."""
        return {
            "relation": self.fact.relation,
            "subject": self.fact.subject,
            "object": self.fact.object,
            "foil": self.foil.object,
            "template": self.template.text,
            "language": self.template.language,
            "register": self.template.register,
            "context": self.template.context,
            "split": self.split,
            "corruption": self.corruption,
            "pair": f"{self.fact.subject} / {self.foil.subject or self.corruption}",
            "seed": str(self.seed),
            "tokens": msgspec.json.encode(self.words).decode(),
            **{k: v for k, v in (("answer", self.answer), ("foil_answer", self.foil_answer)) if v},
            **({"join": self.template.joined} if self.template.joined else {}),
            **more,
        }


class Exclusion(msgspec.Struct, frozen=True):
    """A fact that is not asked about, and why; in one template, or ("") in all."""

    relation: str
    subject: str
    object: str
    template: str
    reason: str


class Known(msgspec.Struct, frozen=True):
    """How well a model knows a fact: on `first` of `prompts` templates its object ranks first; `instead` is
    what it prefers most often where not, or why it could not be asked."""

    fact: Fact
    first: int
    prompts: int
    instead: str = ""

    @property
    def known(self) -> bool:
        return self.prompts > 0 and 2 * self.first >= self.prompts


class Material(msgspec.Struct, frozen=True):
    """All that a plan is made from. `reference` are runs of other facts of the relation, for means and noise;
    `magnitudes[layer, kind]` the mean absolute activation of each unit over them, where a plan asked for it.
    `gaps` are the clean less the corrupt readout of each case; `estimates` what the trials of a screen's sweeps
    would change in their readouts, to first order, [trials] a sweep. `facts` are those asked about; cases of others
    stand beside them. `texts` are unrelated."""

    anatomy: Anatomy
    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    reference: tuple[Run, ...]
    magnitudes: dict[tuple[int, Kind], np.ndarray] = {}
    gaps: tuple[float, ...] = ()
    estimates: tuple[np.ndarray, ...] = ()
    facts: tuple[Fact, ...] = ()
    texts: tuple[Run, ...] = ()


class Dossier(msgspec.Struct, frozen=True):
    """All that an audit of claims about one topic is planned from.

    `cases` by group of prompts (see `claims.topics.Prompts`); `known` whether the model knows the topic. `reference`
    are runs of other facts, `texts` unrelated ones. `magnitudes[layer, kind]` are mean absolute activations of each
    unit over the reference, `quantiles[site]` vectors [5, site width] of the activations there. Of each site set,
    `rivals` are disjoint sets of the same size that restore most, of those measured, and `firing` cases of the facts
    that fire it most, of `corpus`, with their share of this topic's activation; `most` names the fact, known to the
    model or not, that fires it most, with that share: `1.2 capital(Chad)`, or "". `shuffled` pairs confirming cases
    with the answers (object, foil) of other facts.
    """

    anatomy: Anatomy
    cases: dict[str, tuple[Case, ...]]
    exclusions: tuple[Exclusion, ...]
    reference: tuple[Run, ...] = ()
    texts: tuple[Run, ...] = ()
    magnitudes: dict[tuple[int, Kind], np.ndarray] = {}
    quantiles: dict[Site, np.ndarray] = {}
    rivals: tuple[tuple[tuple[Site, ...], ...], ...] = ()
    firing: tuple[tuple[tuple[Case, float], ...], ...] = ()
    most: tuple[str, ...] = ()
    corpus: int = 0
    shuffled: tuple[tuple[Case, LogitDifference], ...] = ()

    @property
    def known(self) -> bool:
        return bool(self.cases.get("confirm"))


class Estimated(msgspec.Struct, frozen=True):
    """A planned sweep, with what a screen estimated that each of its trials changes in the readout, [trials]."""

    sweep: Sweep
    estimates: np.ndarray
