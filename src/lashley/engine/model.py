"""One causal language model, opened: modules, tokenizer, anatomy, and the hash of all that can change an answer."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from lashley.core.anatomy import Anatomy
from lashley.core.errors import BadModel
from lashley.engine import attention
from lashley.engine.families import Family, family
from lashley.engine.hooks import blocks_of, final_norm
from lashley.engine.tokens import Tokens

UNHASHED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "attn_implementation")


class Model:
    """A `PreTrainedModel` with its tokenizer, frozen and in evaluation mode.

    `memory` is the working budget in bytes for activations in flight.
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
        self.tokens = Tokens(tokenizer, self.anatomy.context)
        self.softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self.memory = memory
        self.weights_hash = _hash_weights(module)
        self.tokenizer_hash = _hash_text(tokenizer.backend_tokenizer.to_str())

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
        return self.dtype.itemsize * (8 * a.width + 5 * a.heads * a.head_width + 4 * a.neurons)

    @property
    def tokens_per_pass(self) -> int:
        """How many tokens fit the memory budget; beyond 8,192 matrix products gain nothing."""
        return max(256, min(8192, self.memory // self.bytes_per_token))

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids [batch, tokens] -> hidden states after the final norm [batch, tokens, width]. No unembedding."""
        return self.module.base_model(input_ids=ids, use_cache=False).last_hidden_state

    def norm(self, hidden: Tensor) -> Tensor:
        """The final norm, on [.., width]."""
        return final_norm(self.module, self.family)(hidden)

    def logits(self, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Unembed [.., width] -> [.., vocabulary], float32 or more, or only the rows of `tokens`."""
        head = self.module.get_output_embeddings()
        weight = head.weight if tokens is None else head.weight[tokens]
        bias = head.bias if head.bias is None or tokens is None else head.bias[tokens]
        full = torch.promote_types(hidden.dtype, torch.float32)
        if tokens is not None:  # half precision would round the difference of a few logits, and they cost nothing
            hidden, weight, bias = hidden.to(full), weight.to(full), None if bias is None else bias.to(full)
        logits = torch.nn.functional.linear(hidden, weight, bias).to(full)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


def _anatomy(module, fam: Family, config) -> Anatomy:
    blocks = blocks_of(module, fam)
    for block in blocks:
        for path in (fam.heads, fam.attn, fam.neurons, fam.mlp):
            block.get_submodule(path)
    module.get_submodule(fam.norm)
    heads = config.num_attention_heads
    width_in = _inputs(blocks[0].get_submodule(fam.heads))
    return Anatomy(
        family=config.model_type,
        layers=len(blocks),
        heads=heads,
        head_width=width_in // heads,
        neurons=_inputs(blocks[0].get_submodule(fam.neurons)),
        width=config.hidden_size,
        vocabulary=module.get_output_embeddings().weight.shape[0],
        context=config.max_position_embeddings,
    )


def _inputs(projection) -> int:
    """Input width of a linear layer, also of transformers' Conv1D, whose weight lies the other way round."""
    return projection.weight.shape[0] if hasattr(projection, "nf") else projection.weight.shape[1]


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
