"""How well scores of nodes tell a compiled program's circuit from decoys: AUROC by exact effects, EAP and EAP-IG.

python tools/tracr_scores.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/tracr"))
from model import PROGRAMS, open_program
from nodes import attributed, auroc, exact, pairs

COLUMNS = ("resample + zero", "resample", "zero", "EAP", "EAP-IG")

print(f"{'program':12}" + "".join(f"{c:>17}" for c in COLUMNS))
for name in PROGRAMS:
    program = open_program(name)
    asked = pairs(program)
    resample, zero = (exact(program, asked, edit) for edit in ("resample", "zero"))
    both = {node: resample[node] + zero[node] for node in program.used}
    by = (both, resample, zero, *(attributed(program, asked, method) for method in ("eap", "eap-ig")))
    print(f"{name:12}" + "".join(f"{auroc(scores, program.used):17.3f}" for scores in by), flush=True)
