"""From words to runs: tokens, the subject's span, and continuations that do not disturb the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from jinja2 import TemplateError
from msgspec import UNSET

from lashley.core.errors import BadPrompt
from lashley.core.fact import BLANK, SLOT, Template, sound
from lashley.core.run import Run

_BLANKS = re.compile(r"\s{2,}|^\s|\s$")
_SENTINEL = "\ue000"  # of the private use area: in no chat template, and nothing that one would trim

Spans = Sequence[tuple[int, int]]


class Tokens:
    """A fast Hugging Face tokenizer, asked the questions that the laboratory has.

    A run's tokens are the tokenizer's own of its text, without those with which it closes every text, since answers
    follow. What it would drop, not know, or take for a special token is refused, never silently other than typed.
    """

    def __init__(self, tokenizer, context: int):
        self.tokenizer = tokenizer
        self.context = context
        self.before, self._after = _specials(tokenizer)
        self.begin = len(self.before)
        added = tokenizer.added_tokens_decoder.items()
        self._special = {*tokenizer.all_special_ids, *(i for i, token in added if token.special)}

    def run(self, text: str, subject: tuple[int, int] | None = None) -> Run:
        """`text` as a run; `subject` is its half-open span in characters. Raises `BadPrompt`."""
        if not text.strip():
            raise BadPrompt("the prompt is empty; write a sentence that the object would continue")
        tokens, spans = self._encode(text)
        return self._run(Run(text, (*self.before, *tokens), self.begin), spans, subject)

    def ask(self, template: Template, subject: str) -> Run:
        """The run of a template filled with `subject`, as a chat's first message where the template says so."""
        text, start = template.fill(subject), len(template.before) + template.text.index(SLOT)
        before, after = self.chat(text) if template.chat else ("", "")
        span = (len(before) + start, len(before) + start + len(subject))
        if template.chat:
            tokens, spans = self._encode(before + text + after, (len(before), len(before) + len(text)))
            begin = self.begin if tokens[: self.begin] == self.before else 0
            run = self._run(Run(before + text + after, tokens, begin, rendered=True), spans[begin:], span)
        else:
            run = self.run(text, span)
        return run if template.join in (BLANK, UNSET) else msgspec.structs.replace(run, join=template.join)

    def _run(self, run: Run, spans: Spans, subject: tuple[int, int] | None) -> Run:
        """The run with its subject found; `spans` are the characters of its tokens after the beginning."""
        if len(run) > self.context:
            raise BadPrompt(
                f"the prompt has {len(run)} tokens and the model's context is {self.context}; shorten the prompt"
            )
        if subject is None:
            return run
        start, stop = subject
        inside = [i for i, (a, b) in enumerate(spans, run.begin) if a < stop and b > start and b > a]
        if not inside or not run.text[start:stop].strip():
            raise BadPrompt(f"the subject in {run.text!r} is empty; name one")
        return msgspec.structs.replace(run, subject=(inside[0], inside[-1] + 1))

    def chat(self, text: str) -> tuple[str, str]:
        """What the tokenizer's chat template writes before and after the message `text`, up to where an answer begins.
        Raises `BadPrompt`."""
        if not self.tokenizer.chat_template:
            raise BadPrompt("the model's tokenizer has no chat template; ask without --chat, or give an instruct model")
        try:
            said, other = (
                self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
                )
                for content in (text, _SENTINEL)
            )
        except TemplateError as e:
            raise BadPrompt(f"the tokenizer's chat template fails ({e}); ask without --chat") from e
        before, _, after = other.partition(_SENTINEL)
        if said != before + text + after:
            raise BadPrompt(
                f"the tokenizer's chat template rewrites the message {text!r}; write it without blanks and line breaks "
                "at its ends, or ask without --chat"
            )
        return before, after

    def answer(self, run: Run, answer: str) -> tuple[int, ...]:
        """The tokens of `answer` as they follow the run's text. Raises `BadPrompt`."""
        return self.answers(run, (answer,))[answer]

    def answers(self, run: Run, answers: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The same of many answers at once, after what the run says joins them to it.

        Refused when the tokenizer would write the prompt itself differently before one of them.
        """
        n, end = len(run), len(self._after) if not run.rendered else 0
        join = BLANK if run.join is UNSET else run.join
        texts = [f"{run.text}{join}{sound(a, 'the answer', BadPrompt)}" for a in answers]
        encoded = self.tokenizer(texts, add_special_tokens=not run.rendered)["input_ids"]
        found = {}
        for answer, text, ids in zip(answers, texts, encoded, strict=True):
            own = tuple(ids[n : len(ids) - end])
            if tuple(ids[:n]) != run.tokens or not own or tuple(ids[n + len(own) :]) != self._after[:end]:
                raise BadPrompt(
                    f"the answer {answer!r} changes how {run.text!r} is tokenised, so their tokens do not join; "
                    "choose another template"
                )
            if n + len(own) > self.context:
                raise BadPrompt(
                    f"prompt and answer {answer!r} exceed the context of {self.context}; shorten the prompt"
                )
            if not answer.isascii() or not answer.isprintable() or "  " in answer or not self._special.isdisjoint(own):
                self._encode(text, (len(run.text), len(text)) if run.rendered else None)
            found[answer] = own
        return found

    def words(self, tokens: tuple[int, ...]) -> list[str]:
        """One readable string a token."""
        return [self.tokenizer.decode([t]) for t in tokens]

    def _encode(self, text: str, typed: tuple[int, int] | None = None) -> tuple[tuple[int, ...], Spans]:
        """The tokens of a text and their characters, without what the tokenizer puts around any text. Where a chat
        template wrote it, which puts there what it needs, `typed` is the part that the user did. Raises `BadPrompt`."""
        sound(text, "the prompt", BadPrompt)
        encoded = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=typed is None)
        ids, spans = tuple(encoded["input_ids"]), encoded["offset_mapping"]
        if typed is None:
            stop = len(ids) - len(self._after)
            if ids[: self.begin] != self.before or ids[stop:] != self._after:
                raise BadPrompt(f"the tokenizer puts other special tokens around {text!r} than around other texts")
            ids, spans = ids[self.begin : stop], spans[self.begin : stop]
        self._faithful(text, ids, spans, typed or (0, len(text)))
        self._seen(text, ids, typed or (0, len(text)))
        return ids, spans

    def _faithful(self, text: str, ids: Sequence[int], spans: Spans, typed: tuple[int, int]) -> None:
        """Raises `BadPrompt` where typed text became a special token, or none at all."""
        seen, stop = typed
        gaps = []
        for token, (a, b) in zip(ids, spans, strict=True):
            if a >= stop or b <= typed[0]:
                continue
            if token in self._special:
                name = self.tokenizer.convert_ids_to_tokens(token)
                if name != text[a:b]:
                    raise BadPrompt(f"the tokenizer has no token for {text[a:b]!r} in {text!r}; write it otherwise")
                raise BadPrompt(f"{text!r} holds {name!r}, a special token of the tokenizer; leave it out{self._hint}")
            gaps.append(text[seen:a])
            seen = max(seen, b)
        if dropped := "".join([*gaps, text[seen:stop]]).strip():
            raise BadPrompt(f"the tokenizer drops {dropped!r} of {text!r}; leave it out")

    def _seen(self, text: str, ids: tuple[int, ...], typed: tuple[int, int]) -> None:
        """Raises `BadPrompt` where the tokenizer reads typed blanks, line breaks and the like as one blank or none."""
        odd = {found.span() for found in _BLANKS.finditer(text, *typed)}
        odd |= {(i, i + 1) for i in range(*typed) if not text[i].isprintable()}
        for start, stop in sorted(odd):
            for other in ("", " "):
                said = text[:start] + other + text[stop:]
                if said != text and tuple(self.tokenizer(said, add_special_tokens=False)["input_ids"]) == ids:
                    read = "one blank" if other else "nothing"
                    what = f"{text[start:stop]!r} in {text!r}"
                    raise BadPrompt(f"the tokenizer reads {what} as {read}; write that instead")

    @property
    def _hint(self) -> str:
        return ", or ask with --chat, which writes what a chat needs" if self.tokenizer.chat_template else ""


def _specials(tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that the tokenizer puts before any text, and after it."""
    encoded = tokenizer("x", return_special_tokens_mask=True)
    ids, own = encoded["input_ids"], [i for i, special in enumerate(encoded["special_tokens_mask"]) if not special]
    return (tuple(ids[: own[0]]), tuple(ids[own[-1] + 1 :])) if own else (tuple(ids), ())
