"""Train the tests' induction model: `python tools/induction_model.py`, a minute or two on one core.

Two layers in the GPT-2 layout, on random tokens among which some are said twice in the same order. The second time
all but the first are certain, for whoever finds their predecessor's earlier occurrence and looks one further: an
induction head behind a previous-token head (Elhage et al. 2021, transformer-circuits.pub/2021/framework; Olsson et al.
2022, 2209.11895). Nothing else is to be learnt, and neither of the two heads does it alone. What is said twice begins
anywhere and comes again after any pause: with one period for all, positions would do instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

OUT = Path(__file__).parents[1] / "tests" / "data" / "induction"
WORDS, LENGTH, ROWS = 100, 50, 24  # words in the vocabulary; tokens in a row; rows a step
TWICE = (6, 24)  # tokens that are said twice, at least and at most
ENOUGH, MOST = 0.1, 20_000  # nats a certain token, and steps, at which training ends
RATE, DECAY = 3e-3, 0.1


def tokenizer() -> PreTrainedTokenizerFast:
    """`<bos>` before words w0, w1, ... that blanks part."""
    words = {w: i for i, w in enumerate(["<bos>", "<unk>", *(f"w{i}" for i in range(WORDS))])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", unk_token="<unk>")


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [rows, tokens], all different but those said twice; and where the next is certain, bool
    [rows, tokens - 1]."""
    tokens = 2 + torch.rand(ROWS, WORDS).argsort(1)[:, :LENGTH]
    tokens[:, 0] = 0
    certain = torch.zeros(ROWS, LENGTH - 1, dtype=torch.bool)
    for row, sure in zip(tokens, certain, strict=True):
        size = int(torch.randint(TWICE[0], TWICE[1] + 1, ()))
        first = int(torch.randint(1, LENGTH - 2 * size + 1, ()))
        again = int(torch.randint(first + size, LENGTH - size + 1, ()))
        row[again : again + size] = row[first : first + size]
        sure[again : again + size - 1] = True
    return tokens, certain


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the tests' induction model.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    shape = {"n_embd": 64, "n_inner": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": WORDS + 2}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    net = GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **shape, **still))
    optimizer = torch.optim.AdamW(net.parameters(), RATE, (0.9, 0.98), weight_decay=DECAY)
    recent = 10.0
    for step in range(MOST):
        tokens, certain = batch()
        loss = cross_entropy(net(tokens).logits[:, :-1][certain], tokens[:, 1:][certain])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent += 0.02 * (loss.item() - recent)
        if step % 200 == 0:
            print(f"step {step}  {recent:.3f} nats a certain token", flush=True)
        if recent < ENOUGH:
            break
    net.half().save_pretrained(args.out)
    (args.out / "model.safetensors").chmod(0o644)
    (args.out / "generation_config.json").unlink(missing_ok=True)
    tokenizer().save_pretrained(args.out)
    print(f"{recent:.3f} nats a certain token after {step} steps, in {args.out}")


if __name__ == "__main__":
    main()
