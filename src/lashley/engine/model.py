"""One causal language model, opened: modules, tokenizer, anatomy, and the hash of all that can change an answer."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor, nn

from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadModel
from lashley.engine import attention
from lashley.engine.configs import flagged, stated
from lashley.engine.families import Family, family
from lashley.engine.hooks import blocks_of, final_norm
from lashley.engine.linear import inputs_first
from lashley.engine.tokens import Tokens

MOST = {"cpu": 2048}  # tokens a pass: on a processor more would leave its caches
UNHASHED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "attn_implementation")


class Model:
    """A `PreTrainedModel` with its tokenizer, frozen and in evaluation mode.

    `memory` is the working budget in bytes for activations in flight. `devices` are those of the layers and, last, of
    the final norm.
    """

    def __init__(self, module, tokenizer, name: str, memory: int = 1 << 29):
        config = module.config
        self.name = name
        self.module = module.eval().requires_grad_(False)
        self.family: Family = family(config.model_type)
        if self.family.packed:
            module.set_attn_implementation(attention.NAME)
        try:
            self.blocks = blocks_of(module, self.family)
            self.anatomy = _anatomy(module, self.family, config)
        except AttributeError as e:
            raise BadModel(f"{name}: the adapter for {config.model_type!r} does not fit this model ({e})") from e
        self.devices = [next(block.parameters()).device for block in self.blocks]
        self.devices.append(
            next(final_norm(module, self.family).parameters(), module.get_output_embeddings().weight).device
        )
        self.tokens = Tokens(tokenizer, self.anatomy.context)
        self.stated = stated(config)
        self.softcap = self.stated.softcap
        self.memory = memory
        self.weights_hash = _hash_weights(module)
        self.tokenizer_hash = _hash_text(tokenizer.backend_tokenizer.to_str())

    def changed(self) -> None:
        """Take note that the weights were edited in place. Raises `BadModel` when one is not finite."""
        self.weights_hash = _hash_weights(self.module)

    @property
    def device(self) -> torch.device:
        return self.module.device

    @property
    def dtype(self) -> torch.dtype:
        return self.module.dtype

    @property
    def bytes_per_token(self) -> int:
        """Rough peak of one token's activations inside one layer."""
        a = self.anatomy
        return self.dtype.itemsize * (8 * a.width + 5 * a.heads * a.head_width + 4 * self.inner)

    @property
    def inner(self) -> int:
        """Numbers a token inside one MLP: its neurons, or those of the experts that it is routed to."""
        return self.anatomy.neurons or self.module.config.intermediate_size * self.stated.experts

    @property
    def tokens_per_pass(self) -> int:
        """How many tokens fit the memory budget; more than `MOST` gain nothing."""
        return max(256, min(MOST.get(self.device.type, 65536), self.memory // self.bytes_per_token))

    @property
    def bytes_per_base(self) -> int:
        """Rough bytes of one token of an unedited run: activations of every kind, keys and values, in all layers."""
        a = self.anatomy
        return self.dtype.itemsize * a.layers * (3 * a.width + 3 * a.heads * a.head_width + self.inner)

    @property
    def base_tokens(self) -> int:
        """Tokens of unedited runs that fit as much memory again."""
        return max(256, self.memory // self.bytes_per_base)

    @property
    def rotary_by_length(self) -> bool:
        """Whether the length of a run decides its rotary tables, so that a longer run's beginning is another."""
        return any(
            t.get("rope_type") == "dynamic" or t.get("short_factor") != t.get("long_factor")  # of LongRoPE
            for t in self.stated.rotary
        )

    @property
    def attention_flops(self) -> int:
        """Floating-point operations of one token's query, key and value in one layer."""
        a = self.anatomy
        return 2 * a.width * a.head_width * (a.heads + 2 * (self.stated.key_heads or a.heads))

    @property
    def layer_flops(self) -> int:
        """Floating-point operations of one token in one layer's matrix products, attention scores aside."""
        experts = 3 * self.inner * self.anatomy.width if not self.anatomy.neurons else 0
        return 2 * (experts + sum(p.numel() for p in self.blocks[0].parameters() if p.ndim == 2))

    def mlp_projection(self, layer: int) -> nn.Module:
        """The MLP's output projection."""
        assert self.family.neurons is not None
        return self.blocks[layer].get_submodule(self.family.neurons)

    def neuron_outputs(self, layer: int) -> Tensor:
        """What each neuron writes, per unit of its activation, [neurons, width]."""
        return inputs_first(self.mlp_projection(layer))

    def post_mlp(self, layer: int) -> nn.Module | None:
        """The norm between the MLP's output projection and the residual stream, where there is one."""
        return None if self.family.mlp == self.family.neurons else self.blocks[layer].get_submodule(self.family.mlp)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids [batch, tokens] -> hidden states after the final norm [batch, tokens, width]. No unembedding."""
        return self.module.base_model(input_ids=ids, use_cache=False).last_hidden_state

    def norm(self, hidden: Tensor) -> Tensor:
        """The final norm, on [.., width]."""
        return final_norm(self.module, self.family)(hidden.to(self.devices[-1]))

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Unembed [.., width] -> [.., vocabulary], float32 or more, or only the rows of `tokens`."""
        head = self.module.get_output_embeddings()
        weight = head.weight if tokens is None else head.weight[tokens]
        bias = head.bias if head.bias is None or tokens is None else head.bias[tokens]
        hidden = hidden.to(weight.device)
        full = torch.promote_types(hidden.dtype, torch.float32)
        if tokens is not None:  # half precision would round the difference of a few logits, and they cost nothing
            hidden, weight, bias = hidden.to(full), weight.to(full), None if bias is None else bias.to(full)
        logits = torch.nn.functional.linear(hidden, weight, bias).to(full)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


def _anatomy(module, fam: Family, config) -> Anatomy:
    """Raises `BadModel` or `AttributeError` where a layer, or what follows them, is not as the adapter says."""
    for flag, needed in fam.needs.items():
        if flagged(config, flag) != needed:
            raise BadModel(
                f"{config.model_type} with {flag}={not needed} is not supported: the sites are those of models with "
                f"{flag}={needed}; choose another checkpoint"
            )
    if fam.neurons is None and module.dtype == torch.float64:
        raise BadModel(f"torch multiplies the experts of {config.model_type} in float32 at most; choose another dtype")
    blocks, heads = blocks_of(module, fam), config.num_attention_heads
    shapes = set()
    for block in blocks:
        for path in (fam.attn, fam.mlp):
            block.get_submodule(path)
        neurons = 0 if fam.neurons is None else len(inputs_first(block.get_submodule(fam.neurons)))
        shapes.add((len(inputs_first(block.get_submodule(fam.heads))), neurons))
    module.get_submodule(fam.norm)
    if len(shapes) != 1 or min(shapes)[0] % heads:
        raise BadModel(
            f"this {config.model_type} model has layers with {sorted(shapes)} inputs to {fam.heads} and {fam.neurons}; "
            f"only layers that are alike, with inputs for {heads} heads, are supported; choose another checkpoint"
        )
    vocabulary, width = module.get_output_embeddings().weight.shape
    if width != config.hidden_size:
        raise BadModel(
            f"this {config.model_type} model unembeds {width} numbers from a residual stream of {config.hidden_size}; "
            "only models with nothing between the final norm and the unembedding are supported; choose another"
        )
    ((inputs, neurons),) = shapes
    return Anatomy(
        family=config.model_type,
        layers=len(blocks),
        heads=heads,
        head_width=inputs // heads,
        neurons=neurons,
        width=width,
        vocabulary=vocabulary,
        context=config.max_position_embeddings,
        parallel=getattr(config, fam.parallel) if isinstance(fam.parallel, str) else fam.parallel,
    )


def _hash_weights(module) -> str:
    """BLAKE2b over the configuration and all parameters by name. Raises `BadModel` when one is not finite."""
    config = {k: v for k, v in module.config.to_diff_dict().items() if k not in UNHASHED}
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True, default=str).encode(), digest_size=16)
    for name, weight in sorted(module.named_parameters()):
        if not torch.isfinite(weight).all():
            raise BadModel(
                f"weight {name} of the model holds NaN or infinity; every number would be wrong, so mend the checkpoint"
            )
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _hash_text(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
