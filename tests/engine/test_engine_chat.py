"""A chat's prompts are what the tokenizer's own chat template makes of them, and their subjects are found in it."""

from copy import deepcopy

import msgspec
import pytest
from test_engine_tokenizers import KINDS, tokenizer

from lashley.core.errors import BadPrompt
from lashley.core.fact import Template
from lashley.engine.tokens import Tokens

HEAD = "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
TAIL = "<|turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn|>model\n{% endif %}"
SYSTEM = "<bos>You know France. The capital of France is known.\n"
CHATS = {
    "begun": "<bos>" + HEAD + "{{ m['content'] }}" + TAIL,
    "not begun": HEAD + "{{ m['content'] }}" + TAIL,
    "trimmed": "<bos>" + HEAD + "{{ m['content'] | trim }}" + TAIL,
    "a system that says the same": SYSTEM + HEAD + "{{ m['content'] }}" + TAIL,
    "no mark at the end": "User: {{ messages[0]['content'] }} Assistant:",
}
TEMPLATES = ["The capital of {} is", "{} has its capital in", "Say {}", "The capital of {} is\n", ' {}: "']
BYTES = [kind for kind in KINDS if kind.startswith("bytes") and "NF" not in kind]


def chatting(kind: str, template: str | None) -> Tokens:
    fast = deepcopy(tokenizer(kind)[1].tokenizer)
    fast.chat_template = template
    return Tokens(fast, 400)


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_is_what_the_template_makes_of_it(kind, chat):
    core, tokens = tokenizer(kind)[0], chatting(kind, CHATS[chat])
    for text in TEMPLATES:
        template = Template(text, chat=True)
        said = [{"role": "user", "content": template.fill("France")}]
        try:
            run = tokens.ask(template, "France")
        except BadPrompt as e:
            assert chat == "trimmed" and text != text.strip() and "rewrites the message" in str(e)
            continue
        ids = tokens.tokenizer.apply_chat_template(said, add_generation_prompt=True)["input_ids"]
        assert run.tokens == tuple(ids) and run.tokens.count(1) <= 1
        assert run.begin == (ids[0] == 1) * (KINDS[kind][0] == (1,))
        assert run.role(0) == "begin"
        left, mine, right = (
            core.decode(list(part), skip_special_tokens=False)
            for part in (run.tokens[: run.subject[0]], run.tokens[slice(*run.subject)], run.tokens[run.subject[1] :])
        )
        assert left + mine + right == run.text and mine.strip() == "France"
        assert left.endswith(text.split("{}")[0].rstrip(" ")) and right.startswith(text.split("{}")[1])
        for join in ("", " "):
            own = tokens.answer(msgspec.structs.replace(run, join=join), "Paris")
            assert run.tokens + own == tuple(core.encode(f"{run.text}{join}Paris", add_special_tokens=False).ids)


@pytest.mark.parametrize(
    "chat, prompt, why",
    [
        (None, "The capital of {} is", "has no chat template"),
        ("{{ raise_exception('no users') }}", "The capital of {} is", "template fails .no users."),
        (CHATS["begun"], "The <|turn|> capital of {} is", "holds '<|turn|>', a special token"),
        (CHATS["begun"], "<bos>The capital of {} is", "holds '<bos>', a special token"),
        ("{{ messages[0]['content'] | upper }}", "The capital of {} is", "rewrites the message"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "The capital of {} is", "rewrites the message"),
        (CHATS["begun"], "The capital\x00 of {} is", "no tokenizer takes"),
    ],
)
def test_what_a_chat_template_cannot_take_is_told_in_one_line(chat, prompt, why):
    with pytest.raises(BadPrompt, match=why.replace("|", "[|]")) as told:
        chatting("bytes, begun", chat).ask(Template(prompt, chat=True), "France")
    assert str(told.value).isprintable()
