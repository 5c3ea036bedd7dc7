"""Every option that takes a number, found in the command line itself: what is no number of that kind is refused."""

import pytest

from lashley.cli import app as cli

from .conftest import FRANCE, JAPAN, LOCATE

ASKED = (LOCATE[1], *FRANCE, *JAPAN)
CLAIM = ("L4.mlp.n17 stores capital(France)",)
TYPED = {"audit": ("audit", *CLAIM), "calibrate": ("calibrate", "--quick")}
TYPED |= {"plant": ("plant", "redundant", "--fact", "capital(France)=Oslo", "--out", "planted")}
SIGNED = {"--seed", "--question-seed"}  # a draw is any whole number's


def numbers():
    """(what to type before it, option, its type): of each experiment under `plan`, which measures nothing."""
    plans = [name for name in cli.app["plan"] if not name.startswith("-")]
    commands = {("plan", name): ("plan", name, *(CLAIM if name == "audit" else ASKED)) for name in plans}
    for path, typed in (commands | {(name,): typed for name, typed in TYPED.items()}).items():
        app = cli.app
        for name in path:
            app = app[name]
        for argument in app.assemble_argument_collection():
            kinds = {int, float} & {argument.hint, *getattr(argument.hint, "__args__", ())}
            if kinds and not argument.children:
                yield pytest.param(typed, argument.name, kinds.pop(), id=f"{' '.join(path)} {argument.name}")


@pytest.mark.parametrize(("typed", "option", "kind"), list(numbers()))
def test_what_is_no_such_number_is_refused(lashley, here, typed, option, kind):
    wrong = ["nan", "x", *(["-1"] if option not in SIGNED else [])]
    wrong += ["1.5"] if kind is int else ["-inf", *(["inf"] if option != "--minutes" else [])]
    for number in wrong:
        said = lashley(*typed, option, number)
        assert said.code == 2 and not said.out, (number, said)
        assert said.err.startswith("lashley: ") and said.err.count("\n") == 1, (number, said)
        assert not [p for p in here.iterdir() if p.name != ".home"], (number, "something was left behind")


@pytest.mark.parametrize("typed", [("plan", "knockout", *ASKED, "--edit", "noise"), ("plan", "stability", *ASKED)])
@pytest.mark.parametrize("option", sorted(SIGNED))
def test_a_seed_is_any_whole_number(lashley, typed, option):
    for seed in (-1, 2**70):
        said = lashley(*typed, option, seed)
        assert said.code == 0 or (said.code == 2 and "Traceback" not in said.err), said
