"""How a circuit is sought and examined: the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lashley.core.errors import BadCircuit
from lashley.experiments import at_least
from lashley.experiments.circuit import files


@dataclass(frozen=True)
class Params:
    """How the circuit is sought and examined.

    Parameters
    ----------
    method
        "eap-ig" or "eap" (gradients), or "exact": greedy pruning, every removal measured.
    steps
        Steps of EAP-IG between the corrupt and the clean embeddings.
    exact
        Patch so many of the strongest edges one by one; of a circuit at most so many edges are taken out one by one.
    neurons
        Draw out so many MLP neurons as nodes, those of largest attribution.
    least
        Faithfulness that the reported circuit has to keep on the prompts for discovery.
    rivals
        Random connected circuits of the reported circuit's size.
    circuit
        A circuit made before, as a file: nothing is sought, it is run on these prompts.
    operations
        Score what heads do (previous token, induction, copying, ...) against untrained copies.
    corruption
        How the corrupted run is made: "replace" the subject, or "noise" on its embeddings.
    draws
        Corruptions of each prompt: other foils, or other noise.
    seed
        Seed of random circuits and subsets, and of noise.
    """

    method: Literal["eap-ig", "eap", "exact"] = "eap-ig"
    steps: int = 5
    exact: int = 200
    neurons: int = 0
    least: float = 0.8
    rivals: int = 39
    circuit: tuple[str, ...] = ()
    operations: bool = True
    corruption: Literal["replace", "noise"] = "replace"
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps, exact=self.exact, draws=self.draws)
        at_least(0, neurons=self.neurons)
        at_least(19, rivals=self.rivals)  # fewer cannot show p <= 0.05
        if not 0 < self.least < 1:
            raise BadCircuit(f"least {self.least}: write a faithfulness between 0 and 1, such as 0.8")
        if self.neurons and self.method == "exact":
            raise BadCircuit("neurons are chosen by gradients; write --method eap-ig, or --neurons 0")
        object.__setattr__(self, "circuit", files.named(tuple(self.circuit)))
