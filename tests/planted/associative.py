"""A linear associative memory with known cross-talk: a tiny GPT-2 built by hand, nothing trained.

One layer, no attention, a linear MLP W = sum over facts of v_i k_i^T (Kohonen 1972; ROME, Meng et al. 2022, section
3.1). Subjects come in clusters, so their keys are not orthogonal; nor are the objects' unembeddings. Each fact is
stored by `UNITS` neurons in unequal shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from lashley.core.case import Case
from lashley.core.fact import Fact, Template
from lashley.core.run import Run
from lashley.core.site import Site
from lashley.engine.bench import Bench
from lashley.engine.model import Model

WIDTH, UNITS, CLUSTERS = 48, 2, 4


@dataclass(frozen=True)
class Memory:
    """`units` of fact i are the neurons that store it; `crosstalk[i, j]` what their loss takes from the logit
    difference of case j, float64 [facts, facts], in logits, with the final norm's scale left as it is unedited."""

    bench: Bench
    cases: tuple[Case, ...]
    units: tuple[tuple[Site, ...], ...]
    crosstalk: np.ndarray


@torch.no_grad()
def memory(facts: int = 12, alike: float = 0.4, seed: int = 0) -> Memory:
    """`alike` is the share of a subject's embedding that it has in common with its cluster, by variance."""
    draw = torch.Generator().manual_seed(seed)
    words = ["<bos>", "<unk>", *(f"s{i}" for i in range(facts)), *(f"o{i}" for i in range(facts))]
    module = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(words),
            n_embd=WIDTH,
            n_inner=UNITS * facts,
            n_layer=1,
            n_head=2,
            n_positions=8,
            activation_function="linear",
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    base, block = module.transformer, module.transformer.h[0]
    for weight in (base.wpe.weight, *block.attn.parameters(), block.mlp.c_fc.bias, block.mlp.c_proj.bias):
        weight.zero_()
    common = torch.randn(CLUSTERS, WIDTH, generator=draw)[torch.arange(facts) % CLUSTERS]
    own = torch.randn(facts, WIDTH, generator=draw)
    base.wte.weight.copy_(torch.randn(len(words), WIDTH, generator=draw))
    base.wte.weight[2 : 2 + facts] = alike**0.5 * common + (1 - alike) ** 0.5 * own
    module.lm_head.weight.copy_(torch.randn(len(words), WIDTH, generator=draw) / WIDTH**0.5)

    entering = block.ln_2(base.wte.weight[2 : 2 + facts])  # [facts, width]
    keys = entering / entering.square().sum(-1, keepdim=True)
    values = 2 * module.lm_head.weight[2 + facts :]
    shares = torch.tensor([0.75, 0.25]).repeat(facts)
    block.mlp.c_fc.weight.copy_(keys.repeat_interleave(UNITS, 0).T)
    block.mlp.c_proj.weight.copy_(shares[:, None] * values.repeat_interleave(UNITS, 0))

    foil = [(i + 1) % facts for i in range(facts)]
    unembed = module.lm_head.weight[2 + facts :]
    after = base.wte.weight[2 : 2 + facts] + (entering @ keys.T) @ values
    scale = after.std(-1, correction=0)
    gain = unembed - unembed[foil]
    written = (values - values.mean(-1, keepdim=True)) @ gain.T  # [facts, cases]
    crosstalk = (keys @ entering.T) * written / scale
    bench = Bench(Model(module, _tokenizer(words), "associative memory"))
    units = tuple(tuple(Site(0, "neuron", UNITS * i + u) for u in range(UNITS)) for i in range(facts))
    return Memory(bench, tuple(_case(i, foil[i], facts) for i in range(facts)), units, crosstalk.double().numpy())


def _case(i: int, foil: int, facts: int) -> Case:
    def fact(k: int) -> Fact:
        return Fact("memory", f"s{k}", f"o{k}")

    def run(k: int) -> Run:
        return Run(f"s{k}", (0, 2 + k), 1, (1, 2))

    return Case(
        fact(i),
        fact(foil),
        Template("{}"),
        run(i),
        run(foil),
        run(foil),
        (2 + facts + i,),
        (2 + facts + foil,),
        ("<bos>", f"s{i}"),
    )


def _tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    pieces = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pieces.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=pieces, bos_token="<bos>", unk_token="<unk>")
