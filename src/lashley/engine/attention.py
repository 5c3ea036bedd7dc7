"""Attention over packed rows, as a function registered with transformers' `AttentionInterface`.

Rows of a pack lie end to end on one token axis. Projections, norms and MLPs do not care whose token is whose;
attention does, and gets here the only code that knows. Outside a pack the function is plain SDPA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "lashley"


@dataclass
class Span:
    """`rows` rows of equal shape, tokens `start : start + rows * size` of the pack.

    Each row holds positions `prefix .. prefix + size` of its run; what came before is in `keys` and `values`
    [rows, kv heads, prefix, head width] of its base run (None where prefix is 0).
    """

    start: int
    rows: int
    size: int
    prefix: int = 0
    keys: Tensor | None = None
    values: Tensor | None = None


_spans: ContextVar[list[Span] | None] = ContextVar("spans", default=None)
_record: ContextVar[dict[int, tuple[Tensor, Tensor]] | None] = ContextVar("record", default=None)


@contextmanager
def packed(spans: list[Span]) -> Iterator[None]:
    """Inside, attention treats the token axis as these spans, and ignores masks."""
    token = _spans.set(spans)
    try:
        yield
    finally:
        _spans.reset(token)


@contextmanager
def recording(store: dict[int, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Inside, plain passes leave each layer's keys and values [batch, kv heads, tokens, head width] in `store`."""
    token = _record.set(store)
    try:
        yield
    finally:
        _record.reset(token)


def attention(module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs):
    """Query [1, heads, tokens, head width] -> [1, tokens, heads, head width], span by span."""
    if kwargs.get("softcap") is not None:
        raise NotImplementedError("soft-capped attention logits need the eager path")
    spans = _spans.get()
    if spans is None:
        if (store := _record.get()) is not None:
            store[module.layer_idx] = (key, value)
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    scale, window = kwargs.get("scaling"), kwargs.get("sliding_window")
    out = torch.empty_like(query.transpose(1, 2))
    for span in spans:
        here = slice(span.start, span.start + span.rows * span.size)
        q, k, v = (_rows(x[0, :, here], span.rows) for x in (query, key, value))
        if span.keys is not None and span.values is not None:
            k, v = torch.cat([span.keys, k], dim=2), torch.cat([span.values, v], dim=2)
        if (groups := q.shape[1] // k.shape[1]) > 1:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        mask = _mask(span, window, query.device)
        z = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale)
        out[0, here] = z.transpose(1, 2).reshape(-1, *out.shape[2:])
    return out, None


def _rows(x: Tensor, rows: int) -> Tensor:
    """[heads, rows * size, head width] -> [rows, heads, size, head width], a view."""
    return x.unflatten(1, (rows, -1)).transpose(0, 1)


def _mask(span: Span, window: int | None, device: torch.device) -> Tensor | None:
    """Causal, and inside the sliding window where there is one; None where plain `is_causal` says it all."""
    total = span.prefix + span.size
    if span.prefix == 0 and (window is None or total <= window):
        return None
    at = torch.arange(span.prefix, total, device=device)[:, None]
    seen = torch.arange(total, device=device)[None]
    return (seen <= at) if window is None else (seen <= at) & (seen > at - window)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
