"""What a sweep will cost, told before it runs."""

from __future__ import annotations

import msgspec

ROUTES = {  # how a sweep is run, in words
    "plain": "by full passes",
    "whole": "from the first edited layer on",
    "suffix": "from the first edited layer and position on",
}


class Cost(msgspec.Struct, frozen=True):
    """Of a whole plan: counts, floating-point operations, bytes and seconds.

    `rows` are passes: trials, times the answers they need, and identity edits. `routes` counts sweeps by the way
    they go. `naive` is what one full forward pass a row would take, logits of every position included. `memory` is
    that of activations in flight and of unedited runs, beside the weights; `seconds` is from the measured `speed`
    (operations a second) of a plain forward pass of this model.
    """

    sweeps: int
    trials: int
    rows: int
    packs: int
    routes: dict[str, int]
    layer_calls: int
    operations: float
    naive: float
    memory: int
    weights: int
    speed: float

    @property
    def seconds(self) -> float:
        """Expected time, loading aside."""
        return self.operations / self.speed
