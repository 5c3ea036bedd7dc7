"""From words to runs: tokens, the subject's span, and continuations that do not disturb the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from lashley.core.errors import BadPrompt
from lashley.core.fact import SLOT, Template
from lashley.core.run import Run


class Tokens:
    """A fast Hugging Face tokenizer, asked the three questions that the laboratory has."""

    def __init__(self, tokenizer, context: int):
        self.tokenizer = tokenizer
        self.context = context
        self.begin = _leading_specials(tokenizer)

    def run(self, text: str, subject: tuple[int, int] | None = None) -> Run:
        """`text` as a run; `subject` is its half-open span in characters. Raises `BadPrompt`."""
        if not text.strip():
            raise BadPrompt("the prompt is empty; write a sentence that the object would continue")
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        tokens = tuple(encoded["input_ids"])
        if len(tokens) > self.context:
            raise BadPrompt(
                f"the prompt has {len(tokens)} tokens and the model's context is {self.context}; shorten the prompt"
            )
        span = (0, 0)
        if subject is not None:
            start, stop = subject
            inside = [i for i, (a, b) in enumerate(encoded["offset_mapping"]) if a < stop and b > start and b > a]
            if not inside or not text[start:stop].strip():
                raise BadPrompt(f"the subject in {text!r} is empty; name one")
            span = (inside[0], inside[-1] + 1)
        return Run(text, tokens, self.begin, span)

    def ask(self, template: Template, subject: str) -> Run:
        """The run of a template filled with `subject`."""
        start = len(template.before) + template.text.index(SLOT)
        return self.run(template.fill(subject), (start, start + len(subject)))

    def answer(self, run: Run, answer: str) -> tuple[int, ...]:
        """The tokens of `answer` as they follow the run's text, after one blank. Raises `BadPrompt`."""
        return self.answers(run, (answer,))[answer]

    def answers(self, run: Run, answers: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The same of many answers at once.

        Refused when the tokenizer would write the prompt itself differently before one of them.
        """
        n = len(run)
        found = {}
        for answer, ids in zip(answers, self.tokenizer([f"{run.text} {a}" for a in answers])["input_ids"], strict=True):
            if tuple(ids[:n]) != run.tokens or len(ids) == n:
                raise BadPrompt(
                    f"the answer {answer!r} changes how {run.text!r} is tokenised, so their tokens do not join; "
                    "choose another template"
                )
            if len(ids) > self.context:
                raise BadPrompt(
                    f"prompt and answer {answer!r} exceed the context of {self.context}; shorten the prompt"
                )
            found[answer] = tuple(ids[n:])
        return found

    def words(self, tokens: tuple[int, ...]) -> list[str]:
        """One readable string a token."""
        return [self.tokenizer.decode([t]) for t in tokens]


def _leading_specials(tokenizer) -> int:
    """How many beginning-of-text tokens the tokenizer puts before any text."""
    mask = tokenizer("x", return_special_tokens_mask=True)["special_tokens_mask"]
    return next((i for i, special in enumerate(mask) if not special), len(mask))
