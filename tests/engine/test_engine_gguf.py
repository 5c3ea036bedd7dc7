"""A GGUF file opens as the model that it stands for, which is made without the reader, or is refused in one line."""

import functools
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf_changes import sample
from gguf_files import FILES, IDS, Written, gemma2, gemma3, logits
from test_engine_checkpoints import refused

from lashley.core.errors import BadModel
from lashley.engine import checkpoints
from lashley.engine.checkpoints import load
from lashley.engine.selftest import checked

NEAR = 1e-3  # logits, whose spread is 5 and more


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LASHLEY_HOME", str(tmp_path / "home"))
    return tmp_path


file_of = functools.cache(lambda name: FILES[name]())


def opened(path: Path) -> torch.Tensor:
    with torch.no_grad():
        return load(str(path)).module(IDS).logits


def difference(path: Path, file: Written) -> float:
    """In logits, of the opened file from the model that it stands for; infinite where that is none."""
    got, truth = opened(path), file.truth()
    if truth is None or truth.shape != got.shape:
        return float("inf")
    return float((got - truth).abs().max())


@pytest.mark.parametrize("name", FILES)
def test_a_file_opens_as_the_model_that_it_stands_for(name, home):
    file = file_of(name)
    assert file.truth().std() > 1
    assert difference(file.save(home / "a.gguf"), file) < NEAR


@pytest.mark.parametrize("kind, near", [("F16", 2**-10), ("BF16", 2**-7), ("Q8_0", 2**-7), ("Q4_0", 2**-2)])
def test_weights_of_other_types_are_read_as_near_as_they_were_written(kind, near, home):
    """`near` is in units of the largest weight of a block: half a step of the type, or a little more."""
    plain = gemma3()
    ids = [load(str(plain.save(home / f"{k}.gguf", k))).module.state_dict() for k in ("F32", kind)]
    for name, weight in ids[0].items():
        apart = (ids[1][name] - weight).abs().max() / weight.abs().max()
        assert apart <= (near if weight.ndim > 1 else 0), name
    assert any(not torch.equal(ids[1][name], weight) for name, weight in ids[0].items())


@pytest.mark.parametrize("name", ["llama31", "mixtral", "phi3_longrope"])
def test_an_opened_file_passes_the_self_test(name, home):
    assert checked(load(str(file_of(name).save(home / "a.gguf")))).path == "packed"


@pytest.mark.parametrize("name", ["llama31", "phi3_longrope"])
@pytest.mark.parametrize("many", [1, 2, 4, 6])
def test_rope_factors_are_as_many_as_pairs_turn(name, many, home):
    file = file_of(name)
    wrong = {k: np.resize(v, many) for k, v in file.tensors.items() if k.startswith("rope_f")}
    assert wrong and all(len(file.tensors[k]) == 3 for k in wrong)
    with pytest.raises(BadModel, match="pairs turn"):
        load(str(file.with_tensors(wrong, None).save(home / "a.gguf")))


def test_a_conversion_is_the_same_every_time(home, monkeypatch):
    path, made = file_of("mixtral").save(home / "a.gguf"), []
    for turn in range(2):
        monkeypatch.setenv("LASHLEY_HOME", str(home / str(turn)))
        load(str(path))
        (folder,) = (home / str(turn) / "cache" / "models").iterdir()
        made.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert made[0] == made[1]


def wrongly_read(changes, home) -> tuple[dict[str, int], list[str]]:
    """How the changed files were met, and those that opened as another model, or that crashed."""
    counts, wrong = {"refused": 0, "right": 0}, []
    for name, what, file in changes:
        path = file.save(home / "changed.gguf")
        try:
            apart = difference(path, file)
        except BadModel as e:
            assert "\n" not in str(e) and str(e).startswith(str(path)) and "; " in str(e), (name, what, e)
            counts["refused"] += 1
            continue
        if apart < NEAR:
            counts["right"] += 1
        else:
            wrong.append(f"{name}, {what}: {apart:.3g} logits")
    return counts, wrong


LIGHT = tuple(name for name in FILES if not name.startswith("gemma2"))


def test_a_changed_file_is_refused_or_right(home):
    counts, wrong = wrongly_read(sample(60, 2, LIGHT), home)
    assert not wrong
    assert counts["right"] >= 12 and counts["refused"] >= 30


@pytest.mark.real
@pytest.mark.parametrize("seed", [0, 1])
def test_three_hundred_changed_files_are_refused_or_right(home, seed, capsys):
    counts, wrong = wrongly_read(sample(300, seed), home)
    with capsys.disabled():
        print(f"\nof 300 changed GGUF files: {counts['refused']} refused, {counts['right']} right, {len(wrong)} wrong")
    assert not wrong


SIZES = [(gemma2, 26, 2304, 256), (gemma2, 42, 3584, 256), (gemma2, 46, 4608, 144)]
SIZES += [(gemma3, 26, 1152, 256), (gemma3, 34, 2560, 256), (gemma3, 48, 3840, 256), (gemma3, 62, 5376, 168)]


@pytest.mark.real
@pytest.mark.parametrize("make, layers, width, scale", SIZES)
def test_the_scale_of_queries_is_that_of_the_published_model(make, layers, width, scale, home):
    file = make(layers, width, scale)
    assert difference(file.save(home / "a.gguf"), file) < NEAR


def test_a_gemma_of_another_size_is_refused_since_no_key_says_how_queries_are_scaled(home):
    file = gemma3(4, 32, 256)
    assert "how the queries of a gemma3 model are scaled" in refused(file.save(home / "a.gguf"))


def damaged(raw: bytes, at: int, kind: str, *values) -> bytes:
    return raw[:at] + struct.pack(f"<{kind}", *values) + raw[at + struct.calcsize(kind) :]


DAMAGE = {
    "nothing": lambda raw: b"",
    "a stub": lambda raw: b"GGUF\3\0\0\0",
    "not one": lambda raw: b"GGML" + raw[4:],
    "version 1": lambda raw: damaged(raw, 4, "I", 1),
    "version 4": lambda raw: damaged(raw, 4, "I", 4),
    "big-endian": lambda raw: damaged(raw, 4, "I", 3 << 24),
    "2^60 tensors": lambda raw: damaged(raw, 8, "Q", 1 << 60),
    "2^60 keys": lambda raw: damaged(raw, 16, "Q", 1 << 60),
    "a key 2^62 long": lambda raw: damaged(raw, 24, "Q", 1 << 62),
    "a key too few": lambda raw: damaged(raw, 16, "Q", struct.unpack("<Q", raw[16:24])[0] - 1),
    "a tensor too many": lambda raw: damaged(raw, 8, "Q", struct.unpack("<Q", raw[8:16])[0] + 1),
    "cut in the last tensor": lambda raw: raw[:-64],
    "cut by half": lambda raw: raw[: len(raw) // 2],
    "a key that is not text": lambda raw: raw.replace(b"general.file_type", b"general.\xff\xfe\xfd\xfc_type"),
    "the same key twice": lambda raw: raw.replace(b"llama.context_length", b"llama.embedding_leng"),
    "a type that is none": lambda raw: raw.replace(b"general.file_type\x04", b"general.file_type\x63"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_one_line_with_its_name_and_leaves_nothing_behind(what, home):
    path = file_of("llama").save(home / "a.gguf")
    changed = DAMAGE[what](path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    assert refused(path).startswith(str(path))
    kept = home / "home" / "cache" / "models"
    assert not kept.exists() or not list(kept.iterdir())


def test_a_file_cut_anywhere_or_with_a_wrong_byte_in_its_header_is_refused_or_opens(home):
    path, draw = file_of("llama").save(home / "a.gguf"), np.random.default_rng(0)
    raw = path.read_bytes()
    for at in draw.integers(0, len(raw) - 64, 60):
        path.write_bytes(raw[:at])
        assert refused(path).startswith(str(path))
    header = raw.index(b"token_embd.weight")
    for at in draw.integers(0, header, 30):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << int(draw.integers(8)))]) + raw[at + 1 :])
        try:
            load(str(path))
        except BadModel as e:
            assert str(e).startswith(str(path)) and "\n" not in str(e)


def test_a_file_that_changed_is_read_again_though_its_size_and_time_did_not(home):
    first, path = file_of("llama"), home / "a.gguf"
    second = first.with_keys({"llama.rope.freq_base": 500.0}, None)
    before, now = opened(first.save(path)), path.stat()
    other = second.save(home / "b.gguf").read_bytes()
    path.write_bytes(other)
    os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (now.st_size, now.st_mtime_ns)
    assert (opened(path) - before).abs().max() > 0.1


def test_what_an_older_reader_made_is_not_used(home, monkeypatch):
    path, made = file_of("llama").save(home / "a.gguf"), []
    own = checkpoints.convert
    monkeypatch.setattr(checkpoints, "convert", lambda *where: made.append(1) or own(*where))
    for reader in (1, 1, 2):
        monkeypatch.setattr(checkpoints, "READER", reader)
        load(str(path))
    assert len(made) == 2


def test_a_tensor_that_is_not_finite_is_refused_by_the_files_name(home):
    file = file_of("llama")
    values = np.full_like(file.tensors["output_norm.weight"], np.nan)
    path = file.with_tensors({"output_norm.weight": values}, None).save(home / "a.gguf")
    assert refused(path).startswith(str(path))


PIECES = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", "a"],
    "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1, 1],
    "tokenizer.ggml.scores": [0.0] * 259 + [-1.0, -2.0],
    "tokenizer.ggml.merges": ...,
}
TOKENIZERS = {  # what the header says, and "a 12a" as the published tokenizers cut it (None: refused)
    "of pieces": (PIECES, "<s> ▁ a ▁ <0x31> <0x32> a"),
    "of pieces, no beginning": (PIECES | {"tokenizer.ggml.add_bos_token": False}, "▁ a ▁ <0x31> <0x32> a"),
    "of pieces, no blank before": (PIECES | {"tokenizer.ggml.add_space_prefix": False}, "<s> a ▁ <0x31> <0x32> a"),
    "of bytes": ({}, "a Ġ12 a"),
    "of bytes, with a beginning": ({"tokenizer.ggml.add_bos_token": True}, "<s> a Ġ12 a"),
    "of bytes, with both ends": (
        {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True},
        "<s> a Ġ12 a </s>",
    ),
    "single digits": ({"tokenizer.ggml.pre": "smollm"}, "a Ġ 1 2 a"),
    "Qwen's": ({"tokenizer.ggml.pre": "qwen2"}, "a Ġ 1 2 a"),
    "Llama 3's": ({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": True}, "<s> a Ġ 12 a"),
    "Llama 3's, which has a beginning unless told": ({"tokenizer.ggml.pre": "llama-bpe"}, "<s> a Ġ 12 a"),
    "Llama 3's, told": ({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}, "a Ġ 12 a"),
    "with a token of the user's own": (
        {"tokenizer.ggml.token_type": [3, 3, 3, *[1] * 256, 4, 1]},
        "a Ġ 12 a",
    ),
    "none known": ({"tokenizer.ggml.pre": "nonsense"}, None),
    "not said how it splits": ({"tokenizer.ggml.pre": ...}, None),
}


@pytest.mark.parametrize("what", TOKENIZERS)
def test_a_tokenizer_does_what_the_header_says(what, home):
    said, tokens = TOKENIZERS[what]
    file = file_of("llama")
    merged = [*file.keys["tokenizer.ggml.tokens"][:-2], "12", "Ġ12"]
    file = file.with_keys({"tokenizer.ggml.tokens": merged, "tokenizer.ggml.merges": ["1 2", "Ġ 12"]}, None)
    path = file.with_keys(said, None).save(home / "a.gguf")
    if tokens is None:
        assert "tokenizer" in refused(path)
        return
    try:
        tokenizer = load(str(path)).tokens.tokenizer
    except BadModel as e:  # transformers makes those of pieces, and not every version can do each
        assert "of pieces, " in what and "of the one that is made from it" in str(e)
        return
    assert tokenizer.convert_ids_to_tokens(tokenizer("a 12a")["input_ids"]) == tokens.split()


def test_the_oracle_sees_every_part_of_a_model():
    """Each way in which files differ moves the logits by far more than is allowed."""
    config = file_of("llama").config
    base = logits(config)
    for field in ({"rms_norm_eps": 0.5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 700.0}}):
        assert (logits(config | field) - base).abs().max() > 100 * NEAR
