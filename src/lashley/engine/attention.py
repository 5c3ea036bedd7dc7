"""Attention over packed rows, as a function registered with transformers' `AttentionInterface`.

Rows of a pack lie end to end on one token axis. Projections, norms and MLPs do not care whose token is whose;
attention does, and gets here the only code that knows. Outside a pack the function is plain SDPA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "lashley"
SHORT = 16  # rows of at most this many tokens multiply with a common prefix at once, instead of copying it a row each


@dataclass
class Blocked:
    """Attention logits to set to -inf, one entry each: row, head (-1: all), query and key positions of its run."""

    row: Tensor
    head: Tensor
    query: Tensor
    key: Tensor


@dataclass
class Span:
    """`rows` rows of equal shape, tokens `start : start + rows * size` of the pack.

    Each row holds positions `prefix .. prefix + size` of its run. What came before is in `keys` and `values`
    [kv heads, prefix, head width], one a base run, of which row i takes number `pick[i]`; or, after the rows' own
    first tokens, [rows, kv heads, ...] in `own`, between the two.
    """

    start: int
    rows: int
    size: int
    prefix: int = 0
    keys: Sequence[Tensor] = ()
    values: Sequence[Tensor] = ()
    pick: Tensor | None = None
    own: tuple[Tensor, Tensor] | None = None
    blocked: Sequence[Blocked] = field(default=())


class Enough(Exception):
    """Raised inside a layer of which only keys and values [1, kv heads, tokens, head width] are wanted."""

    def __init__(self, keys: Tensor, values: Tensor):
        self.keys, self.values = keys, values


Blocks = Mapping[int, Sequence[Blocked]]
KeysValues = dict[int, tuple[Tensor, Tensor]]  # layer -> [batch, kv heads, tokens, head width]
Patterns = dict[int, Tensor]  # layer -> [batch, heads, query, key]
_spans: ContextVar[Sequence[Span] | None] = ContextVar("spans", default=None)
_record: ContextVar[KeysValues | None] = ContextVar("record", default=None)
_blocks: ContextVar[Blocks | None] = ContextVar("blocks", default=None)
_patterns: ContextVar[Patterns | None] = ContextVar("patterns", default=None)


@contextmanager
def packed(spans: Sequence[Span]) -> Iterator[None]:
    """Inside, attention treats the token axis as these spans, and ignores masks; without any it raises `Enough`."""
    with _set(_spans, spans):
        yield


@contextmanager
def recording(store: KeysValues) -> Iterator[None]:
    """Inside, plain passes leave each layer's keys and values in `store`."""
    with _set(_record, store):
        yield


@contextmanager
def blocking(blocks: Blocks) -> Iterator[None]:
    """Inside, plain passes of rows of equal length leave out this attention, layer by layer."""
    with _set(_blocks, blocks):
        yield


@contextmanager
def attending(store: Patterns) -> Iterator[None]:
    """Inside, plain passes leave each layer's attention probabilities in `store`, float32 or more."""
    with _set(_patterns, store):
        yield


@contextmanager
def _set(variable: ContextVar, value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def attention(module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs):
    """Query [batch, heads, tokens, head width] -> [batch, tokens, heads, head width]; packed, span by span."""
    scale, window, softcap = (kwargs.get(k) for k in ("scaling", "sliding_window", "softcap"))
    spans = _spans.get()
    if spans is None:
        if (record := _record.get()) is not None:
            record[module.layer_idx] = (key, value)
        if (patterns := _patterns.get()) is not None:
            patterns[module.layer_idx] = _pattern(query, key, scale, window, softcap)
        blocked = (_blocks.get() or {}).get(module.layer_idx, ())
        grouped = getattr(module, "num_key_value_groups", 1) == query.shape[1] // key.shape[1]
        if softcap is None and not blocked and grouped:  # SDPA's own wrapper would repeat keys a second time
            return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        span = Span(0, len(query), query.shape[2], blocked=blocked)
        return _attend(query, key, value, span, scale, window, softcap).transpose(1, 2), None
    if not spans:
        raise Enough(key, value)
    out = torch.empty_like(query.transpose(1, 2))
    for span in spans:
        here = slice(span.start, span.start + span.rows * span.size)
        q, k, v = (_rows(x[0, :, here], span.rows) for x in (query, key, value))
        if span.prefix and span.pick is None and span.own is None and span.size <= SHORT and not span.blocked:
            z = _share(q, k, v, span, scale, window, softcap)
        else:
            if span.prefix:
                k, v = _joined(span, span.keys, k, 0), _joined(span, span.values, v, 1)
            z = _attend(q, k, v, span, scale, window, softcap)
        out[0, here] = z.transpose(1, 2).reshape(-1, *out.shape[2:])
    return out, None


def _rows(x: Tensor, rows: int) -> Tensor:
    """[heads, rows * size, head width] -> [rows, heads, size, head width], a view."""
    return x.unflatten(1, (rows, -1)).transpose(0, 1)


def _joined(span: Span, bank: Sequence[Tensor], new: Tensor, which: int) -> Tensor:
    """Keys (which = 0) or values (1) of whole rows, [rows, kv heads, prefix + size, head width]."""
    out = new.new_empty(*new.shape[:2], span.prefix + span.size, new.shape[3])
    borrowed = span.prefix - (span.own[which].shape[2] if span.own else 0)
    if borrowed:
        out[:, :, :borrowed] = bank[0] if span.pick is None else torch.stack(list(bank))[span.pick]
    if span.own:
        out[:, :, borrowed : span.prefix] = span.own[which]
    out[:, :, span.prefix :] = new
    return out


def _attend(q: Tensor, k: Tensor, v: Tensor, span: Span, scale, window: int | None, softcap: float | None) -> Tensor:
    """Rows over all of their own keys: q [rows, heads, size, head width] -> the same shape."""
    kv, size, total = k.shape[1], q.shape[2], k.shape[2]
    groups = q.shape[1] // kv
    if span.blocked:
        mask = _without(_mask(size, total, window, 1, q.dtype, q.device), span, q)
        mask = mask.unflatten(1, (kv, groups)).flatten(2, 3)
    else:
        mask = _mask(size, total, window, groups, q.dtype, q.device)
    if groups > 1:  # the queries of a group side by side: keys and values need not be repeated
        q = q.unflatten(1, (kv, groups)).flatten(2, 3)
    if softcap is None:
        z = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    else:
        z = _weights(q @ k.transpose(-1, -2), mask, q, scale, softcap) @ v
    if span.blocked:
        z = z.nan_to_num()  # a query without any key gets nothing
    return z.unflatten(2, (groups, size)).flatten(1, 2) if groups > 1 else z


def _share(q: Tensor, k: Tensor, v: Tensor, span: Span, scale, window: int | None, softcap: float | None) -> Tensor:
    """As `_attend`, over one prefix that all rows have in common and that is not copied."""
    rows, heads, size, _ = q.shape
    kv, prefix = k.shape[1], span.prefix
    groups = heads // kv
    mask = _mask(size, prefix + size, window, groups, q.dtype, q.device)
    q = q.unflatten(1, (kv, groups)).flatten(2, 3)  # [rows, kv, groups * size, head width]
    flat = q.transpose(0, 1).flatten(1, 2)  # [kv, rows * groups * size, head width]
    before = (flat @ span.keys[0].transpose(-1, -2)).unflatten(1, (rows, -1)).transpose(0, 1)
    weights = _weights(torch.cat([before, q @ k.transpose(-1, -2)], -1), mask, q, scale, softcap)
    old = weights[..., :prefix].transpose(0, 1).flatten(1, 2) @ span.values[0]
    z = old.unflatten(1, (rows, -1)).transpose(0, 1) + weights[..., prefix:] @ v
    return z.unflatten(2, (groups, size)).flatten(1, 2)


def _pattern(q: Tensor, k: Tensor, scale: float | None, window: int | None, softcap: float | None) -> Tensor:
    """Attention probabilities of rows over all of their own keys, [rows, heads, size, size], float32 or more."""
    exact = torch.promote_types(q.dtype, torch.float32)
    q, k = q.to(exact), k.to(exact).repeat_interleave(q.shape[1] // k.shape[1], 1)
    mask = _mask(q.shape[2], q.shape[2], window, 1, exact, q.device)
    return _weights(q @ k.transpose(-1, -2), mask, q, scale, softcap)


def _weights(scores: Tensor, mask: Tensor | None, q: Tensor, scale: float | None, softcap: float | None) -> Tensor:
    scores = scores * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    exact = torch.promote_types(q.dtype, torch.float32)
    return (scores if mask is None else scores + mask).softmax(-1, dtype=exact).to(q.dtype)


def _without(mask: Tensor | None, span: Span, q: Tensor) -> Tensor:
    """The mask of every row and head with its blocked attention taken out, [rows, heads, size, total]."""
    rows, heads, size, _ = q.shape
    total = span.prefix + size
    full = q.new_zeros(rows, heads, size, total)
    if mask is not None:
        full += mask
    for b in span.blocked:
        every = b.head < 0
        full[b.row[every], :, b.query[every] - span.prefix, b.key[every]] = -torch.inf
        full[b.row[~every], b.head[~every], b.query[~every] - span.prefix, b.key[~every]] = -torch.inf
    return full


@lru_cache(maxsize=64)
def _mask(
    size: int, total: int, window: int | None, groups: int, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """What the last `size` of `total` positions see: themselves and what came before, inside the sliding window
    where there is one; 0 or -inf [groups * size, total], `groups` times the same; None where that is everything."""
    if size == 1 and (window is None or total <= window):
        return None
    at = torch.arange(total - size, total, device=device)[:, None]
    seen = torch.arange(total, device=device)[None]
    allowed = (seen <= at) if window is None else (seen <= at) & (seen > at - window)
    mask = torch.zeros(size, total, dtype=dtype, device=device).masked_fill(~allowed, -torch.inf)
    return mask.repeat(groups, 1)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
