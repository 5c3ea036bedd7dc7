"""Every valid claim survives being written and read; another text is refused in one line that points at the slip."""

from __future__ import annotations

import pickle
import random
import string
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lashley.claims.grammar import PREDICATES, check, closed, options_of, parse, write
from lashley.core.anatomy import Anatomy
from lashley.core.claim import CRITERIA, About, Claim, Thresholds
from lashley.core.errors import BadClaim, BadFact, BadSite, LashleyError
from lashley.core.site import ROLES, Site

OWN = '"The capital of {France} is" = Paris against {Italy} = Rome'

VALID = [
    "L4.mlp.n173 stores capital(France)",
    "L4.mlp.n173+L5.attn.h1@subject_last stores capital(France)=Oslo and nothing else",
    f"L4.mlp@-1 is necessary for {OWN} by necessary, better than chance [necessary = 0.4, alpha = 0.01]",
    "L3.resid@4 is sufficient for capital [sufficient = 0.9]",
    'L4.attn contributes to landmark("Washington (state)")="Stand by me" [contributes = 0.1]',
    "L3-5.mlp.n*+L4.mlp stores capital",
    r'L4.attn stores "say \"{O\"Hara \{x\}}\" \\ in\nthe \{" = "a=b" against {"{c}"} = d-e.f',
]


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASHLEY_HOME", str(tmp_path_factory.mktemp("home")))
        yield


numbers = st.integers(0, 2**31 - 1) | st.integers(0, 40)
positions = st.none() | st.sampled_from([*ROLES, "subject"]) | st.integers(-(2**31) + 1, 2**31 - 1)
site = st.builds(Site, numbers, st.sampled_from(["resid", "attn", "mlp"]), st.none(), positions) | st.builds(
    Site, numbers, st.sampled_from(["head", "neuron"]), numbers, positions
)
sites = st.sets(site, min_size=1, max_size=4).map(lambda s: tuple(sorted(s, key=str)))
characters = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from(" ()=[]{}\"'\\,+-.#:“é東🦆")
words = st.text(characters, max_size=30) | st.sampled_from(
    ["by", "against", "and nothing else", "Stand by me", "a AND  nothing else b", "{}", "Côte d'Ivoire", "\\n", '"x"']
)
names = words.map(lambda t: " ".join(t.split())).filter(bool)
relations = st.text("abcé_2", min_size=1, max_size=12).map(lambda t: t.strip("_").replace("__", "_")).filter(bool)
relations = relations.filter(lambda r: "__" not in r and r != "by")


def different(names: tuple[str, str, str, str]) -> bool:
    return names[0].casefold() != names[1].casefold() and names[2].casefold() != names[3].casefold()


@st.composite
def prompts(draw: st.DrawFn) -> About:
    subject, foil, answer, other = draw(st.tuples(names, names, names, names).filter(different))
    side = st.text(characters | st.sampled_from("\n\t\r"), max_size=30)
    prompt = draw(
        st.tuples(side, side).map("{}".join).map(str.strip).filter(lambda p: p.count("{}") == 1 and p != "{}")
    )
    return About("", subject, answer, prompt, foil, other)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    predicate = draw(st.sampled_from(PREDICATES))
    fact = st.builds(About, relations, names, st.just("") | names)
    about = draw(fact | st.builds(About, relations) | prompts())
    asked = draw(st.sets(st.sampled_from(CRITERIA), max_size=3))
    only = predicate == "stores" and draw(st.booleans())
    claim = Claim(draw(sites), predicate, about, only, tuple(c for c in CRITERIA if c in asked))
    share = st.floats(0, 1.5, exclude_min=True)
    least = draw(st.floats(0.05, 1.5))
    options = {
        "necessary": st.just(least),
        "contributes": st.floats(0, min(least, 0.5), exclude_min=True),
        "sufficient": share,
        "others": share,
        "loss": st.floats(0, exclude_min=True, allow_infinity=False),
        "second": share,
        "fires": st.floats(0, 1, exclude_min=True),
        "alpha": st.floats(0, 0.5, exclude_min=True, exclude_max=True),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(options_of(claim)))))
    held = Thresholds(**{n: draw(options[n]) for n in sorted(chosen)})
    return Claim(claim.sites, predicate, about, only, claim.require, held)


@settings(max_examples=400, deadline=None)
@given(claims())
def test_what_is_written_is_read_back(claim: Claim) -> None:
    text = write(claim)
    assert parse(text) == claim
    assert len(text.splitlines()) == 1
    assert write(parse(text)) == text


@pytest.mark.parametrize("text", VALID)
def test_a_canonical_claim_is_written_as_it_was(text: str) -> None:
    assert write(parse(text)) == text


def test_blanks_case_and_the_order_of_sites_do_not_matter() -> None:
    text = "blocks.4.mlp.hook_post[173] +  L2.attn+L4.mlp.n173 Is  Necessary\tFOR Capital ( France ) = Oslo "
    claim = parse(text + "BY robust to  method , Necessary,necessary[ alpha=.01 ,necessary = 1]")
    assert claim.sites == (Site(2, "attn"), Site(4, "neuron", 173))
    assert claim.about == About("capital", "France", "Oslo")
    assert claim.require == ("necessary", "robust to method")
    assert claim.thresholds == Thresholds(necessary=1.0, alpha=0.01)


@pytest.mark.parametrize(
    "text",
    [
        "L4.mlp.n1-3 stores capital",
        "L4.mlp.n1,2,3 stores capital",
        "L4.mlp.n1 , 2-3 stores capital",
        "L4.mlp.n1, L4.mlp.n2, L4.mlp.n3 stores capital",
        "L4.mlp.n1 L4.mlp.n2 blocks.4.mlp.hook_post[3]  stores capital",
    ],
)
def test_a_list_is_one_set_of_sites(text: str) -> None:
    assert write(parse(text)) == "L4.mlp.n1+L4.mlp.n2+L4.mlp.n3 stores capital"


def test_a_star_waits_for_the_model() -> None:
    claim = parse("L0-1.attn.h* ,  L2.mlp L0-1.attn.h* is necessary for capital(France)")
    assert claim.sites == () and parse(write(claim)) == claim
    assert write(claim) == "L0-1.attn.h*+L2.mlp is necessary for capital(France)"
    shape = Anatomy("tiny", layers=3, heads=2, head_width=4, neurons=24, width=16, vocabulary=97, context=64)
    sites = "L0.attn.h0+L0.attn.h1+L1.attn.h0+L1.attn.h1+L2.mlp"
    assert write(closed(claim, shape)) == f"{sites} is necessary for capital(France)"
    assert closed(closed(claim, shape)) == closed(claim, shape)
    with pytest.raises(BadSite, match="depends on the model"):
        closed(claim)


def test_a_prompt_of_ones_own_names_its_fact_and_its_foil() -> None:
    assert parse(f"L4.mlp stores {OWN}").about == About("", "France", "Paris", "The capital of {} is", "Italy", "Rome")


def test_and_nothing_else_asks_for_monosemantic() -> None:
    assert parse("L4.mlp.n1 stores capital and nothing else").required[-1] == "monosemantic"


MISTAKES = [  # ^ stands before the place that is wrong
    ("^", "no site; write L4.mlp.n173 stores"),
    ("   ^", "no site"),
    ("L4.mlp.n173 ^store capital(France)", "no predicate (did you mean 'stores'?); write stores, contributes to"),
    ("L4.mlp ^is neccesary for capital", "did you mean 'is necessary for'?"),
    ("L4.mlp ^contribute to capital", "did you mean 'contributes to'?"),
    ("L4.mlp^", "no predicate"),
    ("L4.mlp + ^L4.mpl stores capital", "site 'L4.mpl' does not parse"),
    ("^L4.mlp@subj stores capital", "no role 'subj'"),
    ("L4.mlp + ^blocks.3.hook_z stores capital", "write blocks.7.attn.hook_z[3]"),
    ("L1.mlp+^L99999999999999999999.mlp stores capital", "lies in no model"),
    ("^L2147483648.mlp stores capital", "lies in no model"),
    ("^L4.mlp.n2147483648 stores capital", "lies in no model"),
    ("^L4.mlp@-2147483648 stores capital", "lies in no model"),
    ("^blocks.2147483647.hook_resid_post stores capital", "lies in no model"),
    ("L4.mlp ++ L5.mlp".replace(" ++", " ^++") + " stores capital", "no predicate"),
    ("L4.mlp, ^L5.mlp.n9-2 stores capital", "the range 9-2 is empty"),
    ("^L4.mlp.n0-5000 stores capital", "is 5,001 sites, more than 1,024"),
    ("L4.mlp +^blocks.7.attn.hook_q[1] stores capital", "a query is no site"),
    ("^model.layers.7.mlp stores capital", "is a module"),
    ("L4.mlp stores ^", "no relation and no prompt"),
    ("L4.mlp stores ^by necessary", "no relation and no prompt"),
    ("L4.mlp stores ^“The capital of {France} is” = Paris", "no relation and no prompt"),
    ("L4.mlp stores capital(^)", "no subject"),
    ('L4.mlp stores capital(^" ")', "no subject"),
    ("L4.mlp stores capital(France^", "no ) after the subject"),
    ("L4.mlp stores capital(France^ = Paris".replace("^ =", " ^="), "no ) after the subject"),
    ("L4.mlp stores state(Washington ^(state))", "no ) after the subject"),
    ("L4.mlp stores capital(France)=^", "no object"),
    ("L4.mlp stores capital^=Paris", "an object without its subject"),
    ("L4.mlp stores capital(France) ^foo", "'foo' is not understood"),
    ("L4.mlp stores capital(France)=Paris^=Rome", "'=Rome' is not understood"),
    ("L4.mlp stores capital(France) [alpha = 0.01] ^by necessary", "'by' is not understood"),
    ("L4.mlp stores capital(^" + "x" * 201 + ")", "a name of 201 characters"),
    ('L4.mlp stores ^"The capital of {France} is', "a double quote that is not closed"),
    ('L4.mlp stores "^The capital of France is" = Paris', "no {SUBJECT} in the prompt"),
    ('L4.mlp stores "The capital of ^{} is" = Paris', "no subject in the braces"),
    ('L4.mlp stores "{a} ^{b} is" = Paris', "more or less than one {SUBJECT}"),
    ('L4.mlp stores "a ^{b is" = Paris', "more or less than one {SUBJECT}"),
    ('L4.mlp stores "a ^}b{ is" = Paris', "more or less than one {SUBJECT}"),
    ('L4.mlp stores "a {^{b}} is" = Paris', "more or less than one {SUBJECT}"),
    (r'L4.mlp stores "^a \{\} {b} is" = Paris', "the prompt itself holds {}"),
    (r'L4.mlp stores "a ^\d {b} is" = Paris', "no escape '\\d'"),
    ('L4.mlp stores "^{France}" = Paris', "the prompt asks nothing"),
    ('L4.mlp stores "a {b} is"^', "no = after the prompt"),
    ('L4.mlp stores "a {b} is" = c^', "no against FOIL"),
    ('L4.mlp stores "a {b} is" = c against ^d = e', "no { before the foil's subject"),
    ('L4.mlp stores "a {b} is" = c against {d^ = e'.replace("^ =", " ^="), "no } after the foil's subject"),
    ('L4.mlp stores "a {b} is" = c against {d}^', "no = after the foil"),
    ('L4.mlp stores "a {b} is" = c against {^B} = e', "the foil's subject is that of the fact"),
    ('L4.mlp stores "a {b} is" = c against {d} = ^C', "the foil's object is that of the fact"),
    ("L4.mlp is necessary for capital ^and nothing else", '"and nothing else" goes with stores alone'),
    ("L4.mlp stores capital by necessary, ^suficient", "did you mean 'sufficient'?"),
    ("L4.mlp stores capital by ^[alpha = 0.01]", "no criterion ''"),
    ("L4.mlp stores song(x)=Stand by ^me", 'a name that holds "by" goes in double quotes'),
    ("L4.mlp stores capital ^[alpha = 0.01", "a [ that is not closed"),
    ("L4.mlp stores capital [^]", "an option is NAME = NUMBER"),
    ("L4.mlp stores capital [^alpha 0.01]", "an option is NAME = NUMBER"),
    ("L4.mlp stores capital [^alfa = 0.01]", "did you mean 'alpha'?"),
    ("L4.mlp stores capital [alpha = 0.01, ^alpha = 0.01]", "alpha is given twice"),
    ("L4.mlp stores capital [^alpha = small]", "alpha is 'small', which is no number; write alpha = 0.05"),
    ("L4.mlp stores capital [^alpha = nan]", "alpha = nan is impossible; write a number above 0 and below 0.5"),
    ("L4.mlp stores capital [^alpha = 0.5]", "impossible"),
    ("L4.mlp stores capital [^alpha = 0]", "impossible"),
    ("L4.mlp stores capital [^necessary = 1.51]", "impossible; write a number above 0 and at most 1.5"),
    ("L4.mlp stores capital [^sufficient = -1]", "impossible"),
    ("L4.mlp contributes to capital [^contributes = inf]", "impossible"),
    ("L4.mlp stores capital [^others = 1e999]", "impossible; write a number above 0"),
    ("L4.mlp stores capital [loss = 3, ^second = 0]", "impossible"),
    ("L4.mlp stores capital and nothing else [^fires = 1.1]", "impossible; write a number above 0 and at most 1"),
    ("L4.mlp stores capital by necessary, contributes [necessary = 0.2, ^contributes = 0.3]", "a contradiction"),
    ("L4.mlp contributes to capital [^contributes = 0.6]", "contributes = 0.6 is more than necessary = 0.5"),
    (
        "L4.mlp is necessary for capital [^sufficient = 0.5]",
        "no criterion of this claim; it has necessary, better than",
    ),
    ("L4.mlp stores capital [^fires = 0.5]", "no criterion of this claim"),
    ("L4.mlp stores^\0capital", "a control character"),
    ("L4.mlp stores capital(\x1b[31m)".replace("\x1b", "^\x1b"), "a control character"),
    ("L4.mlp stores capital(^\ud800)", "a control character"),
]


@pytest.mark.parametrize(("marked", "why"), MISTAKES)
def test_a_slip_is_pointed_at_and_explained(marked: str, why: str) -> None:
    at, text = marked.index("^"), marked.replace("^", "", 1)
    with pytest.raises(BadClaim) as caught:
        parse(text)
    e = caught.value
    assert (e.at, e.text) == (at, text)
    assert why in e.why
    assert f"at character {at}" in str(e)
    one_short_line(e)


def one_short_line(e: LashleyError) -> None:
    assert len(str(e)) < 400 and str(e).isprintable(), str(e)


def test_the_message_reads_as_a_sentence() -> None:
    with pytest.raises(BadClaim) as caught:
        parse("L4.mlp.n173 keeps capital(France)")
    assert str(caught.value) == (
        "claim 'L4.mlp.n173 keeps capital(France)': no predicate at character 12; "
        "write stores, contributes to, is necessary for or is sufficient for"
    )
    assert caught.value.pointed() == (
        "L4.mlp.n173 keeps capital(France)\n"
        "            ^\n"
        "no predicate; write stores, contributes to, is necessary for or is sufficient for"
    )


@pytest.mark.parametrize("before", [0, 1, 30, 63, 64, 65, 1000, 100_000])
@pytest.mark.parametrize("after", [0, 1, 40, 100_000])
def test_the_caret_stays_under_the_place_in_a_long_claim(before: int, after: int) -> None:
    text = "a" * before + "X" * (after > 0) + "b" * after
    claim, caret, why = BadClaim(text, before, "why").pointed().split("\n")
    assert why == "why" and len(claim) <= 64
    assert caret.rstrip("^").isspace() or before == 0
    assert claim[len(caret) - 1 : len(caret)] == ("X" if after else "")


def test_control_characters_are_shown_escaped_and_wide_ones_count_twice() -> None:
    escaped = BadClaim("a\n\x1b", 3, "why")
    assert escaped.pointed() == "a\\n\\x1b\n       ^\nwhy"
    assert BadClaim("東京x", 2, "why").pointed() == "東京x\n    ^\nwhy"
    assert BadClaim("e\u0301x", 2, "why").pointed() == "e\u0301x\n ^\nwhy"


def test_a_bad_claim_survives_pickling() -> None:
    e = BadClaim("text", 2, "why; do", "claims.txt, line 3", 12)
    again = pickle.loads(pickle.dumps(e))
    assert str(again) == str(e) == "claims.txt, line 3: claim 'text': why at character 2; do; and 12 more lines"
    assert again.pointed() == e.pointed() == "text\n  ^\nclaims.txt, line 3: why; do; and 12 more lines"


ODD = "\"'()[]{}=+,\\@#;:\n\t\r\0\x1b\u2028\ufeff\u200b\ud800🦆é東 0.9eEnNlLbBiİıſ"
HUGE = [
    "",
    " " * 100_000,
    "L" + "9" * 100_000 + ".mlp stores capital",
    "L4.mlp stores " + "{" * 100_000,
    "L4.mlp stores capital" + "(" * 100_000,
    'L4.mlp stores "' + "{" * 50_000 + "}" * 50_000 + '" = a against {b} = c',
    'L4.mlp stores "' + "\\" * 99_999,
    "L4.mlp" + " +L4.mlp" * 12_000 + " stores capital",
    "L4.mlp.n" + "1," * 50_000 + "2 stores capital",
    "L4.mlp.n1" + " , " * 30_000 + "2 stores capital",
    "L" + "1-2," * 25_000 + "2.mlp.n" + "1-9," * 25_000 + "* stores capital",
    "L4.mlp" + " " * 100_000 + "stores" + " " * 100_000 + "x",
    "L4.mlp stores capital(" + "a by " * 20_000 + ")",
    "L4.mlp stores capital(a)=" + " and" * 25_000,
    "L4.mlp stores capital(a)=x and" + " " * 100_000,
    "L4.mlp stores capital by " + "necessary," * 10_000,
    "L4.mlp stores capital [" + "alpha = 0.01," * 8_000,
    "L4.mlp stores capital [alpha = " + "9" * 100_000 + "]",
    "🦆" * 25_000,
    "\0" * 100_000,
]


def mutated(draw: random.Random) -> str:
    """A valid claim after one to six slips."""
    text = draw.choice(VALID)
    for _ in range(draw.randint(1, 6)):
        i, j = sorted(draw.randint(0, len(text)) for _ in range(2))
        other = draw.choice(VALID)
        text = draw.choice(
            [
                text[:i] + text[i + 1 :],
                text[:i] + text[j:],
                text[:i] + draw.choice(ODD + string.printable) + text[i:],
                text[:i] + "".join(draw.choices(ODD, k=5)) + text[j:],
                text[:i] + draw.randbytes(4).decode("latin-1") + text[i:],
                text[:i] + text[j : j + 1] + text[i + 1 : j] + text[i : i + 1] + text[j + 1 :],
                text[:i] + other[draw.randint(0, len(other)) :],
                text.replace(str(draw.randint(0, 9)), "9" * draw.choice([1, 12, 5000])),
                text.swapcase(),
            ]
        )
    return text


def read_or_refused(text: str) -> bool:
    try:
        claim = parse(text)
    except LashleyError as e:
        one_short_line(e)
        assert isinstance(e, BadClaim) and 0 <= e.at <= len(text)
        assert e.pointed().count("\n") == 2
        return False
    assert parse(write(claim)) == claim
    try:
        check(claim)
    except LashleyError as e:
        assert "\n" not in str(e)
    return True


def test_a_thousand_malformed_claims_are_read_or_refused() -> None:
    draw = random.Random(20260101)
    read = sum(read_or_refused(mutated(draw)) for _ in range(1000))
    assert 20 < read < 500  # the slips are neither all harmless nor all fatal


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HUGE, ids=lambda text: f"{text[:24]!r} {len(text)}")
def test_a_huge_claim_is_read_or_refused_at_once(text: str) -> None:
    read_or_refused(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters() | st.sampled_from(ODD), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    for before in ("", "L4.mlp stores ", 'L4.mlp stores "', "L4.mlp stores capital(", "L4.mlp stores capital ["):
        read_or_refused(before + text)


def test_options_beside_the_text_and_defaults() -> None:
    text = "L4.mlp is necessary for capital(France) [alpha = 0.01]"
    assert parse(text, {"necessary": "0.4"}).thresholds == Thresholds(necessary=0.4, alpha=0.01)
    assert parse(text, {"alpha": 0.01}) == parse(text)
    defaults = Thresholds(sufficient=0.9, necessary=0.7, alpha=0.02)
    assert parse(text, {}, defaults).thresholds == Thresholds(necessary=0.7, alpha=0.01)
    for options, why in (
        ({"alpha": 0.02}, "alpha = 0.01 in the claim, and 0.02 beside it"),
        ({"sufficient": 0.5}, "no criterion of this claim"),
        ({"alfa": 0.02}, "did you mean 'alpha'?"),
        ({"necessary": True}, "which is no number"),
        ({"necessary": 10**400}, "which is no number"),
        ({"necessary": None}, "which is no number"),
    ):
        with pytest.raises(BadClaim, match=why.replace("?", r"\?")):
            parse(text, options)


def test_a_claim_that_is_weakened_is_still_written_so_that_it_can_be_read() -> None:
    strong = parse("L4.mlp.n1 stores capital(France) and nothing else [sufficient = 0.9, fires = 0.2, alpha = 0.01]")
    weak = Claim(strong.sites, "is necessary for", strong.about, thresholds=strong.thresholds)
    assert write(weak) == "L4.mlp.n1 is necessary for capital(France) [alpha = 0.01]"
    assert write(parse(write(weak))) == write(weak)


@pytest.mark.parametrize(
    ("typed", "held"),
    [
        ("Capital(france)", "capital(France)"),
        ("capital(France)=Paris", "capital(France)"),
        ("capital(France)=paris", "capital(France)"),
        ("capital(FRANCE)=oslo", "capital(France)=Oslo"),
        ("Element  symbol", "element_symbol"),
        (OWN, OWN),
    ],
)
def test_a_claim_is_checked_against_the_fact_base(typed: str, held: str) -> None:
    claim = check(parse(f"L4.mlp stores {typed} [alpha = 0.01]"))
    assert write(claim) == f"L4.mlp stores {held} [alpha = 0.01]"
    assert check(claim) == claim


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("capitol(France)", "no relation 'capitol' (did you mean 'capital'"),
        ("capital(Frnace)", "no subject 'Frnace' (did you mean 'France'?)"),
        ("capital(France)=Osloo", "no object 'Osloo' (did you mean 'Oslo'?)"),
    ],
)
def test_what_the_fact_base_does_not_have_is_refused(typed: str, why: str) -> None:
    with pytest.raises(BadFact) as caught:
        check(parse(f"L4.mlp stores {typed}"))
    assert why in str(caught.value)


def test_claims_are_read_without_torch() -> None:
    code = "import sys, lashley.claims.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
