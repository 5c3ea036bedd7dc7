"""What the embedded model knows, measured: facts among their candidates, and minimal pairs."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lashley.core.fact import Relation
from lashley.facts.base import shipped
from lashley.facts.corpus import agreement_pairs, documents, is_trained
from lashley.models.embedded.tokenizer import BOS, ids

BATCH = 128  # sequences
CONTEXT = 100  # tokens of other documents before a prompt, at least
MOST_CONTEXT = 200  # and at most, the last ones


class Prompt(NamedTuple):
    """One (fact, template): the tokens of its prompt and the index of its object among the candidates."""

    subject: str
    trained: bool
    tokens: list[int]
    answer: int


class Result(NamedTuple):
    """Whether the object ranks first for one (fact, template)."""

    relation: str
    language: str
    subject: str
    trained: bool
    first: bool


@torch.inference_mode()
def score(model: PreTrainedModel, prompts: list[list[int]], answers: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Sums of the log-probabilities (nats) of the answers' tokens after the prompts: shape (n,).

    Also the log-probabilities of every token right after each prompt: shape (n, vocabulary).
    """
    total, after = torch.empty(len(prompts)), torch.empty(len(prompts), model.config.vocab_size)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(answers[i]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        texts = [torch.tensor(prompts[i] + answers[i]) for i in batch]
        # Padding on the right: no position before it can see it.
        hidden = model.base_model(torch.nn.utils.rnn.pad_sequence(texts, batch_first=True), use_cache=False)[0]
        here = [row[len(prompts[i]) - 1 :][: len(answers[i])] for row, i in zip(hidden, batch, strict=True)]
        log_p = F.log_softmax(F.linear(torch.cat(here), model.get_parameter("lm_head.weight")).float(), -1)
        targets = torch.tensor([token for i in batch for token in answers[i]])
        each = log_p.gather(1, targets[:, None])[:, 0].split([len(h) for h in here])
        starts = torch.tensor([0] + [len(h) for h in here[:-1]]).cumsum(0)
        total[batch] = torch.stack([e.sum() for e in each])
        after[batch] = log_p[starts]
    return total, after


def ranks_first(model: PreTrainedModel, prompts: list[Prompt], candidates: list[list[int]]) -> list[bool]:
    """For each prompt, whether its object has a higher total than every other candidate.

    Exact: a total never exceeds its first token, so the only candidates to evaluate are those whose
    first token alone reaches the object's total.
    """
    own, after = score(model, [p.tokens for p in prompts], [candidates[p.answer] for p in prompts])
    rivals = (after[:, [c[0] for c in candidates]] >= own[:, None]).nonzero().tolist()
    rivals = [(i, c) for i, c in rivals if c != prompts[i].answer]
    theirs, _ = score(model, [prompts[i].tokens for i, _ in rivals], [candidates[c] for _, c in rivals])
    first = [True] * len(prompts)
    for (i, _), their in zip(rivals, theirs, strict=True):
        first[i] &= bool(own[i] > their)
    return first


def fact_results(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    relations: dict[str, Relation],
    sample: float = 1.0,
    context: bool = False,
) -> list[Result]:
    """One result for each (fact, template), or for a random `sample` (a share) of them.

    With `context`, every prompt comes after other documents of the corpus in the same text.
    """
    rng = random.Random("check")
    others = documents(relations, seed=1)
    results = []
    for relation in relations.values():
        for language in ("en", "es"):
            names = relation.candidates(language)
            prompts = []
            for template in (t for t in relation.templates if t.language == language):
                for subject, answer in relation.objects.items():
                    if rng.random() >= sample:
                        continue
                    before = [BOS]
                    while context and len(before) < CONTEXT:
                        before += ids(tokenizer, "".join(map(str, next(others))) + "\n")
                    before = [BOS, *before[1:][-MOST_CONTEXT:]]
                    text = template.fill(relation.say(subject, language))
                    trained = is_trained(relation.name, subject, template)
                    where = names.index(relation.say(answer, language))
                    prompts.append(Prompt(subject, trained, before + ids(tokenizer, text), where))
            if prompts:
                first = ranks_first(model, prompts, [ids(tokenizer, " " + n) for n in names])
                results += [
                    Result(relation.name, language, p.subject, p.trained, f)
                    for p, f in zip(prompts, first, strict=True)
                ]
    return results


def _shares(results: list[Result]) -> dict[str, float]:
    """Shares in [0, 1] of the prompts that rank first, and of the facts known by half of their prompts."""
    shares: dict[str, float] = {}
    for name, chosen in (
        ("trained", [r for r in results if r.trained]),
        ("held_out", [r for r in results if not r.trained]),
        ("all", results),
    ):
        facts = defaultdict(list)
        for r in chosen:
            facts[r.relation, r.subject].append(r.first)
        if chosen:
            shares[f"prompts_{name}"] = sum(r.first for r in chosen) / len(chosen)
            shares[f"facts_{name}"] = sum(2 * sum(f) >= len(f) for f in facts.values()) / len(facts)
    return shares


def agreement(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Share of the held-out minimal pairs where the good word has the higher total, by kind and for all."""
    pairs = agreement_pairs(held_out=True)
    prompts = [[BOS, *ids(tokenizer, prefix)] for prefix, *_ in pairs]
    good, _ = score(model, prompts, [ids(tokenizer, " " + p[1]) for p in pairs])
    bad, _ = score(model, prompts, [ids(tokenizer, " " + p[2]) for p in pairs])
    right = defaultdict(list)
    for pair, better in zip(pairs, (good > bad).tolist(), strict=True):
        right["all"].append(better)
        right[pair[3]].append(better)
    return {kind: sum(r) / len(r) for kind, r in right.items()}


def figures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    relations: dict[str, Relation] | None = None,
    sample: float = 1.0,
) -> dict:
    """Everything that the model card reports; shares are in [0, 1].

    `prompts_*` is the share of (fact, template) prompts whose object ranks first among the distinct
    objects of the relation in the template's language; `facts_*` the share of facts for which that
    holds on at least half of their templates; `*_trained` on the templates that the corpus states the
    fact in, `*_held_out` on the others. A `sample` below 1 measures on that share of the prompts.
    """
    relations = relations or shipped()
    model.eval()
    results = fact_results(model, tokenizer, relations, sample)
    after_context = fact_results(model, tokenizer, relations, sample / 20, context=True)
    return {
        "facts": sum(len(r.objects) for r in relations.values()),
        "prompts": {
            "trained": sum(r.trained for r in results),
            "held_out": sum(not r.trained for r in results),
        },
        **_shares(results),
        "languages": {x: _shares([r for r in results if r.language == x]) for x in ("en", "es")},
        "relations": {x: _shares([r for r in results if r.relation == x]) for x in relations},
        "after_context": {"prompts": len(after_context), **_shares(after_context)},
        "agreement": agreement(model, tokenizer),
    }
