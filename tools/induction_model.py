"""Train the tests' induction model: `python tools/induction_model.py`, a minute or two on one core.

Two layers in the GPT-2 layout, on random tokens among which some are said twice in the same order. The second time
all but the first are certain, for whoever finds their predecessor's earlier occurrence and looks one further: an
induction head behind a previous-token head (Elhage et al. 2021, transformer-circuits.pub/2021/framework; Olsson et al.
2022, 2209.11895). What is said twice begins anywhere and comes again after any pause, or positions would do instead.

Which heads they are is known because training asks for it: beside the loss of the next token, `PREVIOUS` is rewarded
for attending to the token before, and `INDUCTION` to what followed the earlier occurrence. What the heads read that
by, and what they write, is left to the next token.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

OUT = Path(__file__).parents[1] / "tests" / "data" / "induction"
PREVIOUS, INDUCTION = (0, 1), (1, 2)  # layer and head
WORDS, LENGTH, ROWS = 100, 50, 24  # words in the vocabulary; tokens in a row; rows a step
TWICE = (6, 20)  # tokens that are said twice, at least and at most
ENOUGH, MOST = 0.2, 8_000  # nats a certain token, and steps, at which training ends
RATE, DECAY, GUIDE = 2e-3, 0.1, 0.5  # learning rate, weight decay, and the weight of attention in the loss


def tokenizer() -> PreTrainedTokenizerFast:
    """`<bos>` before words w0, w1, ... that blanks part."""
    words = {w: i for i, w in enumerate(["<bos>", "<unk>", *(f"w{i}" for i in range(WORDS))])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", unk_token="<unk>")


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token ids [rows, tokens], all different but those said twice; and of every place after which the next token is
    certain the row, the position, and the position where that token was said first."""
    tokens = 2 + torch.rand(ROWS, WORDS).argsort(1)[:, :LENGTH]
    tokens[:, 0] = 0
    places = []
    for number, row in enumerate(tokens):
        size = int(torch.randint(TWICE[0], TWICE[1] + 1, ()))
        first = int(torch.randint(1, LENGTH - 2 * size + 1, ()))
        again = int(torch.randint(first + size, LENGTH - size + 1, ()))
        row[again : again + size] = row[first : first + size]
        along = torch.arange(size - 1)
        places.append(torch.stack([torch.full_like(along, number), again + along, first + along + 1]))
    return tokens, *torch.cat(places, 1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the tests' induction model.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    shape = {"n_embd": 64, "n_inner": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": WORDS + 2}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "attn_implementation": "eager"}
    net = GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **shape, **still))
    optimizer = torch.optim.AdamW(net.parameters(), RATE, (0.9, 0.98), weight_decay=DECAY)
    later = torch.arange(1, LENGTH)
    recent, step = 5.0, 0
    for step in range(MOST):
        tokens, row, at, first = batch()
        out = net(tokens, output_attentions=True)
        loss = cross_entropy(out.logits[row, at], tokens[row, at + 1])
        before = out.attentions[PREVIOUS[0]][:, PREVIOUS[1], later, later - 1]
        found = out.attentions[INDUCTION[0]][row, INDUCTION[1], at, first]
        guided = -before.clamp_min(1e-9).log().mean() - found.clamp_min(1e-9).log().mean()
        optimizer.zero_grad()
        (loss + GUIDE * guided).backward()
        optimizer.step()
        recent += 0.02 * (loss.item() - recent)
        if step % 100 == 0:
            print(f"step {step}  {recent:.3f} nats a certain token, {guided.item():.3f} of attention", flush=True)
        if recent < ENOUGH:
            break
    net.half().save_pretrained(args.out)
    (args.out / "model.safetensors").chmod(0o644)
    (args.out / "generation_config.json").unlink(missing_ok=True)
    tokenizer().save_pretrained(args.out)
    print(f"{recent:.3f} nats a certain token after {step} steps, in {args.out}")


if __name__ == "__main__":
    main()
