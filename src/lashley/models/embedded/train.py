"""Train the embedded model: `python -m lashley.models.embedded.train [--out DIR] [--steps N | --minutes N]`.

One command, one seed; with a fixed number of steps the result is the same every time on the same
machine. Stopped and started again, it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import datetime
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lashley.core.fact import Relation
from lashley.facts.base import shipped
from lashley.facts.corpus import TRAINED_SHARE, data_hash, documents
from lashley.models.embedded import WEIGHTS, card, tokenizer
from lashley.models.embedded.check import figures
from lashley.models.embedded.tokenizer import BOS, EOS, PAD

STEPS = 5000
TOKENS = 2048  # a step
ROW, LONG_ROW, LONG_EVERY = 64, 256, 8  # tokens in a row; every 8th step has long rows
ANSWER_WEIGHT = 3.0  # of an answer's tokens in the loss; other tokens weigh 1
RATE, LAST_RATE, WARMUP, DECAY = 2e-3, 4e-5, 200, 0.05
THREADS = 2


def model(vocabulary: int, family: str) -> PreTrainedModel:
    """The model with random weights; it has no dropout, so it is trained and measured in one mode."""
    tokens: dict[str, Any] = {"vocab_size": vocabulary, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    # On a CPU faster than the fused kernel, once compiled.
    common = tokens | {"tie_word_embeddings": True, "attn_implementation": "eager"}
    if family == "gpt2":
        still: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return GPT2LMHeadModel(
            GPT2Config(n_embd=128, n_layer=4, n_head=4, n_positions=LONG_ROW, **still, **common)
        ).eval()
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=6,
            max_position_embeddings=LONG_ROW,
            **common,
        )
    ).eval()


def batches(
    relations: dict[str, Relation], words: PreTrainedTokenizerFast, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and their weights in the loss, both of shape (rows, row length), without end.

    A row begins with `<bos>`, holds one document after another and ends where it is full.
    """
    stream = documents(relations, seed)
    cache: dict[str, list[int]] = {}

    def document() -> list[tuple[int, float]]:
        tokens = [(BOS, 1.0)]
        for sentence in next(stream):
            for text, weight in zip(sentence, (1.0, ANSWER_WEIGHT, 1.0), strict=True):
                if text not in cache:
                    cache[text] = tokenizer.ids(words, text)
                tokens += [(token, weight) for token in cache[text]]
        return [*tokens, (EOS, 1.0)]

    def row(length: int) -> list[tuple[int, float]]:
        tokens = []
        while len(tokens) < length:
            tokens += document()
        return tokens[:length]

    step = 0
    while True:
        step += 1
        length = ROW if step % LONG_EVERY else LONG_ROW
        batch = torch.tensor([row(length) for _ in range(TOKENS // length)])
        yield batch[..., 0].long(), batch[..., 1]


def rate(step: int, steps: int) -> float:
    """The learning rate: a linear warm-up, then half a cosine down to `LAST_RATE`."""
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    done = (step - WARMUP) / max(1, steps - WARMUP)
    return LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2


def train(
    out: Path, steps: int | None, minutes: float | None, seed: int, family: str = "llama", names: Sequence[str] = ()
) -> None:
    """Train, measure and write the weights folder `out`: on all relations, or those in `names`."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    relations = {name: shipped()[name] for name in names or shipped()}
    words = tokenizer.train(shipped())
    net = model(len(words), family)
    flat = [p for p in net.parameters() if p.ndim < 2]
    deep = [p for p in net.parameters() if p.ndim >= 2]
    groups = [{"params": deep, "weight_decay": DECAY}, {"params": flat, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)

    unembedding = net.get_parameter("lm_head.weight")

    @torch.compile(dynamic=False)
    def loss(tokens: Tensor, weights: Tensor) -> Tensor:
        hidden = net.base_model(tokens[:, :-1], use_cache=False)[0]
        logits = F.linear(hidden, unembedding).flatten(0, 1).float()
        each = F.cross_entropy(logits, tokens[:, 1:].flatten(), reduction="none")
        return (each * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()

    checkpoint, data, first, before = out.with_suffix(".ckpt"), data_hash(relations), 0, 0.0
    run = [data, seed, minutes or steps, family]
    stream = batches(relations, words, seed)
    if checkpoint.exists() and (saved := torch.load(checkpoint))["run"] == run:
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        first, steps, before = saved["step"], saved["steps"], saved["seconds"]
        print(f"going on from step {first} of {checkpoint}", flush=True)
        for _ in range(first):
            next(stream)
    parameters = sum(p.numel() for p in net.parameters())
    facts = sum(len(r.objects) for r in relations.values())
    print(f"{parameters:,} parameters, {len(words)} tokens, {facts} facts", flush=True)

    start = lap = time.monotonic()
    step = first
    try:
        for step in range(first, 10**9):
            seconds = before + time.monotonic() - start
            if step == first + 100:  # the compiler has done its work
                lap = time.monotonic()
            if steps is None and minutes is not None and step == first + 300:
                steps = step + max(0, int((60 * minutes - seconds) / (time.monotonic() - lap) * 200))
            if step == steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = rate(step, steps or STEPS)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = loss(*next(stream))
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 0 and step > first:
                left = ((steps or STEPS) - step) * (time.monotonic() - start) / (step - first) / 60
                print(f"step {step}/{steps}  loss {value.item():.3f}  {left:.1f} minutes left", flush=True)
            if step % 500 == 0 and step > first:
                where = {"run": run, "step": step + 1, "steps": steps, "seconds": seconds}
                save(checkpoint, net, optimizer, **where)
            if step % 1000 == 0 and step > first:
                f = figures(net, words, relations, sample=0.03)
                shares = {k: round(v, 3) for k, v in f.items() if isinstance(v, float)}
                print(f"{shares} agreement {f['agreement']['all']:.3f}", flush=True)
    except KeyboardInterrupt:
        where = {"run": run, "step": step, "steps": steps, "seconds": before + time.monotonic() - start}
        save(checkpoint, net, optimizer, **where)
        raise

    net.half().save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    words.save_pretrained(out)
    stored = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    card.write(
        out,
        {
            "figures": figures(stored, words, relations),
            "family": family,
            **({"relations": list(names)} if names else {}),
            "parameters": parameters,
            "layers": net.config.num_hidden_layers,
            "width": net.config.hidden_size,
            "heads": net.config.num_attention_heads,
            "vocabulary": len(words),
            "dtype": "float16",
            "seed": seed,
            "steps": step,
            "tokens": step * TOKENS,
            "minutes": round((before + time.monotonic() - start) / 60, 1),
            "trained_share": TRAINED_SHARE,
            "answer_weight": ANSWER_WEIGHT,
            "data_sha256": data,
            "torch": torch.__version__,
            "date": datetime.date.today().isoformat(),
        },
    )
    checkpoint.unlink(missing_ok=True)
    print((out / "MODEL_CARD.md").read_text(encoding="utf-8"))


def save(path: Path, net: PreTrainedModel, optimizer: torch.optim.Optimizer, **where: object) -> None:
    """Write a checkpoint; an interrupted write leaves the old one."""
    part = path.with_suffix(".part")
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), **where}, part)
    part.replace(path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the embedded model.")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int)
    length.add_argument("--minutes", type=float, help="as many steps as fit")
    parser.add_argument("--family", choices=("llama", "gpt2"), default="llama")
    parser.add_argument("--relations", nargs="*", default=(), help="only these; by default all")
    args = parser.parse_args()
    steps = None if args.minutes else args.steps or STEPS
    train(args.out, steps, args.minutes, args.seed, args.family, args.relations)


if __name__ == "__main__":
    main()
