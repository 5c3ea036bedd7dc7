"""Compiled Tracr programs as causal language models in the Hugging Face manner, with decoys beside the real circuit.

No layer norm, ReLU, one-hot positions. A decoy layer comes first and last, and two decoy heads stand in each layer:
decoys read everything at random, and write nothing, or into directions of the residual stream that only decoys read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from lashley.core.run import Run
from lashley.engine import families
from lashley.engine.bench import Bench
from lashley.engine.families import Family
from lashley.engine.model import Model

DATA = Path(__file__).parents[1] / "data" / "tracr"
PROGRAMS = sorted(path.stem for path in DATA.glob("*.json"))
DECOYS, UNREAD = 2, 4  # decoy heads a layer; directions that only decoys read
BOS, UNKNOWN = "bos", "?"

families.register("tracr", Family(packed=False))


class TracrConfig(PreTrainedConfig):
    model_type = "tracr"
    vocab_size: int = 8
    hidden_size: int = 8
    intermediate_size: int = 8
    num_hidden_layers: int = 1
    num_attention_heads: int = 1
    head_dim: int = 8
    max_position_embeddings: int = 8
    causal: bool = False
    tie_word_embeddings: bool = False


class Attention(nn.Module):
    def __init__(self, config: TracrConfig):
        super().__init__()
        self.heads, self.causal = config.num_attention_heads, config.causal
        inner = config.num_attention_heads * config.head_dim
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(config.hidden_size, inner) for _ in range(3))
        self.o_proj = nn.Linear(inner, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.o_proj(z.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: TracrConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.up_proj(x).relu())


class Layer(nn.Module):
    def __init__(self, config: TracrConfig):
        super().__init__()
        self.self_attn, self.mlp = Attention(config), MLP(config)
        self.input_layernorm, self.post_attention_layernorm = nn.Identity(), nn.Identity()

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = hidden_states + self.self_attn(self.input_layernorm(hidden_states))
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class TracrModel(PreTrainedModel):
    config_class = TracrConfig

    def __init__(self, config: TracrConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.Identity()
        self.post_init()

    def forward(self, input_ids: Tensor, **_) -> BaseModelOutput:
        x = self.embed_tokens(input_ids) + self.embed_positions.weight[: input_ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class TracrForCausalLM(PreTrainedModel):
    config_class = TracrConfig
    base_model_prefix = "model"

    def __init__(self, config: TracrConfig):
        super().__init__(config)
        self.model = TracrModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def forward(self, input_ids: Tensor, **_) -> CausalLMOutput:
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids).last_hidden_state))


@dataclass(frozen=True)
class Program:
    """A compiled program on the bench; `used` is the truth: node -> whether the program uses it."""

    name: str
    bench: Bench
    words: tuple[str, ...]  # the vocabulary: inputs, outputs that are no inputs, the unknown token
    outputs: tuple[int, ...]  # tokens that can be answered
    inputs: tuple[str, ...]
    longest: int
    used: dict[str, bool]
    examples: list[dict]

    @property
    def numerical(self) -> bool:
        """Whether the answer is the one output's logit, and no choice."""
        return len(self.outputs) == 1

    def run(self, tokens: list[str]) -> Run:
        return Run(" ".join(tokens), tuple(self.words.index(t) for t in (BOS, *tokens)), 1)

    @torch.no_grad()
    def answers(self, run: Run) -> list[float] | list[str]:
        """What the model says at every position after beginning-of-text."""
        logits = self.bench.model.module(torch.tensor([run.tokens])).logits[0, 1:, list(self.outputs)]
        if self.numerical:
            return logits[:, 0].tolist()
        return [self.words[self.outputs[i]] for i in logits.argmax(-1).tolist()]


@cache
def open_program(name: str) -> Program:
    """A compiled program with its decoys, opened by the engine."""
    about = json.loads((DATA / f"{name}.json").read_text())
    with np.load(DATA / f"{name}.npz") as file:
        weights = {k.removeprefix("transformer/"): torch.from_numpy(file[k]) for k in file.files}
    words = list(dict.fromkeys([*about["inputs"], *about["outputs"], UNKNOWN]))
    module = _built(about, weights, words)
    pieces = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=UNKNOWN))
    pieces.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pieces.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, words.index(BOS))])
    bench = Bench(Model(module, PreTrainedTokenizerFast(tokenizer_object=pieces, bos_token=BOS), f"tracr {name}"))
    inputs = tuple(w for w in about["inputs"] if w not in (BOS, "compiler_pad"))
    outputs = tuple(words.index(w) for w in about["outputs"])
    return Program(
        name, bench, tuple(words), outputs, inputs, about["longest"], _truth(about, bench), about["examples"]
    )


def _truth(about: dict, bench: Bench) -> dict[str, bool]:
    nothing = {"heads": [], "mlp": False}
    layers = [nothing, *about["used"], nothing]
    heads = {f"L{la}.attn.h{h}": h in own["heads"] for la, own in enumerate(layers) for h in range(bench.anatomy.heads)}
    return heads | {f"L{la}.mlp": own["mlp"] for la, own in enumerate(layers)}


@torch.no_grad()
def _built(about: dict, weights: dict[str, Tensor], words: list[str]) -> TracrForCausalLM:
    real, width = about["heads"], weights["token_embed/embeddings"].shape[1]
    inner = weights["layer_0/attn/query/w"].shape[1]
    config = TracrConfig(
        vocab_size=len(words),
        hidden_size=width + UNREAD,
        intermediate_size=weights["layer_0/mlp/linear_1/w"].shape[1],
        num_hidden_layers=about["layers"] + 2,
        num_attention_heads=real + DECOYS,
        head_dim=inner // real,
        max_position_embeddings=about["longest"] + 1,
        causal=about["causal"],
    )
    module = TracrForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.copy_(2 * torch.rand(weight.shape, generator=generator) - 1)
    model = module.model
    for table, name in ((model.embed_tokens, "token_embed"), (model.embed_positions, "pos_embed")):
        values = weights[f"{name}/embeddings"]
        table.weight.zero_()
        table.weight[: len(values), :width] = values[: len(table.weight)]
    module.lm_head.weight.zero_()
    for word, direction in about["outputs"].items():
        module.lm_head.weight[words.index(word), direction] = 1
    for number, layer in enumerate(model.layers):
        for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):  # decoys spare what the program reads
            projection.weight[:width] = 0
            projection.bias.zero_()
        layer.self_attn.o_proj.weight[:, -config.head_dim :] = 0  # and the last of them write nothing
        if 0 < number <= about["layers"]:
            _compiled(layer, weights, f"layer_{number - 1}", width)
    return module


def _compiled(layer: Layer, weights: dict[str, Tensor], at: str, width: int) -> None:
    """The program's own heads, first among the layer's, and its MLP."""
    attention, mlp = layer.self_attn, layer.mlp
    inner = weights[f"{at}/attn/query/w"].shape[1]
    for projection, name in ((attention.q_proj, "query"), (attention.k_proj, "key"), (attention.v_proj, "value")):
        projection.weight[:inner] = 0
        projection.weight[:inner, :width] = weights[f"{at}/attn/{name}/w"].T
        projection.bias[:inner] = weights[f"{at}/attn/{name}/b"]
    attention.o_proj.weight[:, :inner] = 0
    attention.o_proj.weight[:width, :inner] = weights[f"{at}/attn/linear/w"].T
    attention.o_proj.bias[:width] = weights[f"{at}/attn/linear/b"]
    for projection, name in ((mlp.up_proj, "linear_1"), (mlp.down_proj, "linear_2")):
        values = weights[f"{at}/mlp/{name}/w"].T
        projection.weight.zero_()
        projection.weight[: values.shape[0], : values.shape[1]] = values
        projection.bias.zero_()
        projection.bias[: values.shape[0]] = weights[f"{at}/mlp/{name}/b"]
