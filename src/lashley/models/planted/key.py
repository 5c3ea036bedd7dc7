"""Keys: the direction in which one subject's last token lies apart from all other tokens.

As in ROME (Meng et al. 2022) the direction is whitened by the covariance of ordinary inputs; other than there, what
lies on the far side already is let be (squared hinge), so that the key is silent elsewhere instead of weak on average.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lashley.models.planted.neuron import Key

MARGIN = 0.5  # elsewhere row . x + bias shall be below minus this
RIDGE = 1e-2
FIRMNESS = 10.0  # how much a violation elsewhere weighs against one at the key
STEPS = 20


def fit(here: Tensor, elsewhere: Tensor, biased: bool) -> Key:
    """The key that is 1 on `here` [n, width] and below -`MARGIN` on `elsewhere` [m, width]; float64 inside.

    Newton steps on the squared error here plus the squared hinge elsewhere, by ridge in the metric of `elsewhere`.
    `biased`: the neuron has a bias.
    """
    p, n = here.double(), elsewhere.double()
    width = p.shape[1]
    covariance = n.T @ n / len(n)
    ridge = RIDGE * (covariance + 1e-4 * covariance.diagonal().mean() * torch.eye(width, dtype=n.dtype))
    if biased:
        p, n = (torch.cat([x, x.new_ones(len(x), 1)], 1) for x in (p, n))
        ridge = torch.nn.functional.pad(ridge, (0, 1, 0, 1))
    left, right = p.T @ p / len(p) + ridge, p.mean(0)
    start = n.T @ n / len(n)
    w = torch.linalg.solve(left + start, right)
    for _ in range(STEPS):
        near = n[n @ w > -MARGIN]
        hinge = FIRMNESS / len(n)
        new = torch.linalg.solve(left + hinge * near.T @ near, right - hinge * MARGIN * near.sum(0))
        if (new - w).norm() <= 1e-6 * w.norm():
            break
        w = new
    return Key(w[:width].float(), float(w[width]) if biased else 0.0)
