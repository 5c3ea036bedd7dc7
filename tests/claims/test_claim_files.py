"""Files of claims: four formats give the same claims; what is wrong is told once, with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lashley.claims import files
from lashley.claims.files import read
from lashley.claims.grammar import parse, write
from lashley.core.errors import BadClaim, LashleyError

OWN = 'L4.mlp stores "The capital of {France} is" = Paris against {Italy} = Rome'
FIRST = "L4.mlp.n173 stores capital(France)"
SECOND = "L2.attn is necessary for capital(Côte d'Ivoire)=Oslo by necessary, better than chance"

FILES = {
    "plain.txt": f"# mine\n\n{FIRST}\n  {OWN}  \n   # no claim\n{SECOND} [necessary = 0.4]\n",
    "mac.txt": f"{FIRST}\r{OWN}\r{SECOND} [necessary = 0.4]",
    "windows.txt": f"\ufeff{FIRST}\r\n{OWN}\r\n{SECOND} [necessary = 0.4]\r\n",
    "lines.jsonl": "\n".join(
        [json.dumps(FIRST), "", json.dumps({"claim": OWN}), json.dumps({"claim": SECOND, "necessary": 0.4})]
    ),
    "table.csv": f'necessary, Claim\n,{FIRST}\n,"{OWN.replace(chr(34), 2 * chr(34))}"\n\n0.4,"{SECOND}"\n',
    "bare.csv": f'claim,necessary\n{FIRST}\n{OWN}\n"{SECOND}",0.4\n',
    "array.toml": f"claims = [\n'{FIRST}', # \"no claim\n'''{OWN}''',\n\"\"\"{SECOND} [necessary = 0.4]\"\"\"]\n",
    "tables.toml": f"claims = ['{FIRST}']\n[[claim]]\ntext = '{OWN}'\n"
    f'[[claim]]\ntext = "{SECOND}"\nnecessary = 0.4\n',
    "defaults.toml": f"claims = ['{FIRST} [necessary = 0.5]', '{OWN} [necessary = 0.5]', \"{SECOND}\"]\n"
    "[thresholds]\nnecessary = 0.4\nfires = 0.1\n",
}


def kept(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(LashleyError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable() and len(message.replace(str(path), "")) < 500
    return message.replace(str(path), path.name)


@pytest.mark.parametrize("name", FILES)
def test_every_format_holds_the_same_claims(tmp_path: Path, name: str) -> None:
    found = read(kept(tmp_path, name, FILES[name]))
    assert [write(c) for c in found.claims] == [FIRST, OWN, f"{SECOND} [necessary = 0.4]"]
    assert found.duplicates == 0


def test_a_claim_that_is_there_twice_is_kept_once_and_counted(tmp_path: Path) -> None:
    again = ["L4.mlp.n173  STORES Capital( France )", f"{FIRST} [necessary = 0.5]", f"{FIRST} [necessary = 0.4]"]
    found = read(kept(tmp_path, "twice.txt", "\n".join([FIRST, *again, OWN, FIRST])))
    assert found.claims == (parse(FIRST), parse(again[2]), parse(OWN))
    assert found.duplicates == 3


WRONG = {
    "empty.txt": ("", "empty.txt holds no claim; write one"),
    "blank.txt": ("\n# nothing\n  \n", "holds no claim"),
    "bad.txt": (f"{FIRST}\n\nL4.mlp store x\n{OWN}\nnonsense\nmore\n", "bad.txt, line 3: claim 'L4.mlp store x'"),
    "latin.txt": (f"{FIRST}\nL4.mlp stores capital(Côte)".encode("latin-1"), "latin.txt, line 2: not UTF-8 text"),
    "utf16.csv": (FIRST.encode("utf-16"), "utf16.csv, line 1: not UTF-8 text"),
    "nul.txt": (f"{FIRST}\n\0\0", "nul.txt, line 2: claim '\\x00\\x00': a control character"),
    "other.yaml": (FIRST, "ends in .txt, .jsonl, .ndjson, .csv, .toml"),
    "none": (FIRST, "ends in .txt"),
    "empty.jsonl": ("\n", "holds no claim"),
    "bad.jsonl": (f'"{FIRST}"\n{{"claim": \n[]\n', "bad.jsonl, line 2: not JSON (Expecting value"),
    "shape.jsonl": ("[1]", "shape.jsonl, line 1: there is no text of a claim"),
    "number.jsonl": ('{"claim": 3}', "there is no text of a claim"),
    "unnamed.jsonl": ('{"text": "x"}', "there is no text of a claim"),
    "twice.jsonl": (f'{{"claim": "{FIRST}", "alpha": 0.01, "alpha": 0.02}}', "a key is there twice"),
    "deep.jsonl": ("[" * 100_000, "line 1: not"),
    "digits.jsonl": ("9" * 5000, "line 1: not a claim"),
    "surrogate.jsonl": (r'"\ud800"', "a control character"),
    "option.jsonl": (f'{{"claim": "{FIRST}", "alfa": 0.01}}', "no option 'alfa' (did you mean 'alpha'?)"),
    "kind.jsonl": (f'{{"claim": "{FIRST}", "alpha": [0.01]}}', "alpha is '[0.01]', which is no number"),
    "nan.jsonl": (f'{{"claim": "{FIRST}", "alpha": NaN}}', "alpha = nan is impossible"),
    "contrary.jsonl": (
        f'{{"claim": "{FIRST} [alpha = 0.01]", "alpha": 0.02}}',
        "line 1: claim 'L4.mlp.n173 stores capital(France) [alpha = 0.01]': alpha = 0.01 in the claim, and 0.02 beside",
    ),
    "empty.csv": ("", "holds no claim"),
    "header.csv": ("claim,alpha\n", "holds no claim"),
    "headless.csv": (f"{FIRST}\n", "headless.csv, line 1: 0 columns are named claim"),
    "column.csv": (f"claim,necesary\n{FIRST},0.4\n", "line 1: no option 'necesary' (did you mean 'necessary'?)"),
    "columns.csv": (f"claim,alpha,alpha\n{FIRST},,\n", "two columns are named alpha"),
    "commas.csv": (f"claim\n{FIRST} by necessary, sufficient\n", "commas.csv, line 2: 2 cells in a row under 1 names"),
    "quote.csv": (f'claim\n{FIRST}\n"{OWN}\n', "quote.csv, line 3: not CSV"),
    "after.csv": (f'claim,alpha\n"L4.mlp\nstores capital",0.01\n{FIRST},x\n', "after.csv, line 4: claim"),
    "missing.csv": ("claim,alpha\n,0.01\n", "missing.csv, line 2: claim '': no site"),
    "contrary.csv": (f"alpha,claim\n0.02,{FIRST} [alpha = 0.01]\n", "alpha = 0.01 in the claim, and 0.02 beside it"),
    "wide.csv": ("claim\n" + "x" * 200_000, "wide.csv, line 2: not CSV"),
    "empty.toml": ("", "holds no claim"),
    "syntax.toml": (f"claims = ['{FIRST}'\nx", "syntax.toml is not TOML"),
    "key.toml": (f"clams = ['{FIRST}']", "key.toml has the key 'clams'; write claims ="),
    "shape.toml": (f"claims = '{FIRST}'", "has another shape"),
    "shape2.toml": ("claim = 1", "has another shape"),
    "shape3.toml": ("thresholds = 1", "has another shape"),
    "entry.toml": (f"claims = ['{FIRST}', 3]", "entry.toml, claim 2: there is no text of a claim"),
    "textless.toml": ("[[claim]]\nalpha = 0.01", "textless.toml, claim 1: there is no text of a claim"),
    "defaults.toml": ("[thresholds]\nalpha = 0.9", "defaults.toml, [thresholds]: alpha = 0.9 is impossible"),
    "unknown.toml": ("[thresholds]\nalfa = 0.1", "[thresholds]: no option 'alfa' (did you mean 'alpha'?)"),
    "contrary.toml": (
        "[thresholds]\ncontributes = 0.4\nnecessary = 0.3",
        "[thresholds]: contributes = 0.4 is more than",
    ),
    "line.toml": (f"# 'x'\nclaims = [\n  '{FIRST}',\n  \"L4.mlp stor\\u0065 x\"\n]", "line.toml, line 4: claim"),
    "table.toml": (
        f"[[claim]]\ntext = '{FIRST}'\n[[claim]]\nalpha = 9\ntext = '{FIRST}'\n",
        "table.toml, line 5: claim 'L4.mlp.n173 stores capital(France)': alpha = 9.0 is impossible",
    ),
    "deep.toml": ("claims = " + "[" * 100_000, "deep.toml is not TOML"),
    "digits.toml": ("claims = [" + "9" * 5000 + "]", "digits.toml is not TOML"),
    "date.toml": ("claims = [1979-13-41]", "date.toml is not TOML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_file_is_refused_in_one_line_that_says_where(tmp_path: Path, name: str) -> None:
    text, why = WRONG[name]
    assert why in refused(kept(tmp_path, name, text))


def test_only_the_first_bad_line_is_told_and_the_others_are_counted(tmp_path: Path) -> None:
    path = kept(tmp_path, "bad.txt", f"{FIRST}\nL4.mlp store x\n{OWN}\nnonsense\n" + "worse\n" * 11)
    with pytest.raises(BadClaim) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 2: claim 'L4.mlp store x': no predicate")
    assert str(caught.value).endswith("; and 12 more lines")
    assert caught.value.pointed().startswith(f"L4.mlp store x\n       ^\n{path}, line 2: no predicate")
    assert refused(kept(tmp_path, "bad.jsonl", "{\n{\n")).endswith("; and 1 more line")
    assert "more line" not in refused(kept(tmp_path, "one.txt", "nonsense"))


def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist" in refused(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.txt")
    with pytest.raises(LashleyError, match="cannot be read"):
        read("a\0b.txt")
    monkeypatch.setattr(files, "LARGEST", 2 * 2**20)
    assert "is larger than 2 MB; split it" in refused(kept(tmp_path, "large.txt", "#" * (2 * 2**20 + 1)))


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "toml"])
def test_the_work_of_many_claims_grows_as_their_number(tmp_path: Path, suffix: str, calls) -> None:
    few, many = (calls(lambda n=n: _read_many(tmp_path, suffix, n)) for n in (1_000, 8_000))
    assert many < 9 * few


def _read_many(tmp_path: Path, suffix: str, count: int) -> None:
    lines = [f"L{i % 26}.mlp.n{i % 9000} stores capital(Place {i})" for i in range(count)]
    lines[count - 224] = lines[count - 112] = "L4.mlp store capital(France)"
    texts = {
        "txt": "\n".join(lines),
        "jsonl": "\n".join(f'"{line}"' for line in lines),
        "csv": "\n".join(["claim", *lines]),
        "toml": "claims = [" + "\n".join(f"'{line}'," for line in lines) + "]",
    }
    path = kept(tmp_path, f"many.{suffix}", texts[suffix])
    message = refused(path)
    assert message.startswith(
        f"many.{suffix}, line {count - 223 + (suffix == 'csv')}: claim 'L4.mlp store capital(France)'"
    )
    assert message.endswith("; and 1 more line")
