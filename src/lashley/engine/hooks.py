"""The one place that touches hooks: functions on activations at canonical sites, undone on the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from lashley.core.errors import BadSite
from lashley.core.site import Kind
from lashley.engine.families import Family

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
OnSite = Callable[[Tensor], Tensor | None]  # activation [..., width] -> its replacement, or None to leave it


def blocks_of(model: nn.Module, family: Family) -> list[nn.Module]:
    """The decoder layers, first to last."""
    return list(model.get_submodule(family.layers).children())


def final_norm(model: nn.Module, family: Family) -> nn.Module:
    return model.get_submodule(family.norm)


@contextmanager
def listening(model: nn.Module, family: Family, received: list[Arguments]) -> Iterator[None]:
    """Append to `received` what each decoder layer receives beside its hidden state, layer by layer."""

    def hear(module, args, kwargs):
        received.append((args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"}))

    with ExitStack() as stack:
        for block in blocks_of(model, family):
            stack.callback(block.register_forward_pre_hook(hear, with_kwargs=True).remove)
        yield


@contextmanager
def hooked(model: nn.Module, family: Family, on: Mapping[tuple[int, Kind], OnSite]) -> Iterator[None]:
    """Apply `on[layer, kind]` to that activation in every forward pass inside the `with`.

    Sites: resid [.., width] entering a layer (layer = number of layers: entering the final norm); attn and mlp
    [.., width] as added to the residual stream; head [.., heads * head width] and neuron [.., neurons] entering
    the output projections.
    """
    blocks = blocks_of(model, family)
    with ExitStack() as stack:
        for (layer, kind), fn in on.items():
            if kind == "resid":
                module = blocks[layer] if layer < len(blocks) else final_norm(model, family)
                handle = module.register_forward_pre_hook(_first_input(fn), with_kwargs=True)
            else:
                path = {"attn": family.attn, "mlp": family.mlp, "head": family.heads, "neuron": family.neurons}[kind]
                if path is None:
                    raise BadSite(f"L{layer} has no {kind} sites: its MLP has no single output projection; choose mlp")
                module = blocks[layer].get_submodule(path)
                if family.flat_mlp and kind in ("mlp", "neuron"):
                    fn = stack.enter_context(_by_row(blocks[layer], fn))
                if kind in ("attn", "mlp"):
                    handle = module.register_forward_hook(_output(fn))
                else:
                    handle = module.register_forward_pre_hook(_first_input(fn), with_kwargs=True)
            stack.callback(handle.remove)
        yield


@contextmanager
def rerouted(
    model: nn.Module,
    family: Family,
    reading: Mapping[tuple[int, str], OnSite],
    leaving: Mapping[tuple[int, str], OnSite],
) -> Iterator[None]:
    """Apply `reading[layer, path]` to what enters that module of a layer, and `leaving` to what comes out of it, in
    every forward pass inside the `with`; [batch, tokens, width], also where an MLP sees its tokens end to end."""
    blocks = blocks_of(model, family)
    with ExitStack() as stack:
        for (layer, path), fn in reading.items():
            if family.flat_mlp and path == family.mlp_norm:
                fn = stack.enter_context(_by_row(blocks[layer], fn))
            handle = blocks[layer].get_submodule(path).register_forward_pre_hook(_first_input(fn), with_kwargs=True)
            stack.callback(handle.remove)
        for (layer, path), fn in leaving.items():
            stack.callback(blocks[layer].get_submodule(path).register_forward_hook(_output(fn)).remove)
        yield


@contextmanager
def entering(module: nn.Module, see: Callable[[Tensor], None]) -> Iterator[None]:
    """Call `see` with what enters `module`, as the module gets it, in every forward pass inside the `with`."""

    def hook(module, args, kwargs):
        see(args[0] if args else next(iter(kwargs.values())))

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _by_row(block: nn.Module, fn: OnSite) -> Iterator[OnSite]:
    """`fn`, which takes [batch, tokens, width], for a module inside `block` that sees [batch * tokens, width]."""
    shape = []

    def note(module, args, kwargs):
        shape[:] = (args[0] if args else kwargs["hidden_states"]).shape[:-1]

    def on_rows(x: Tensor) -> Tensor:
        rows = x.unflatten(0, shape)
        new = fn(rows)  # `rows` itself goes on, so that a gradient can be had of it
        return (rows if new is None else new).flatten(0, 1)

    handle = block.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield on_rows
    finally:
        handle.remove()


def _first_input(fn: OnSite):
    def hook(module, args, kwargs):
        if args:
            new = fn(args[0])
            return None if new is None else ((new, *args[1:]), kwargs)
        new = fn(kwargs["hidden_states"])
        return None if new is None else (args, {**kwargs, "hidden_states": new})

    return hook


def _output(fn: OnSite):
    return lambda module, args, output: fn(output)
