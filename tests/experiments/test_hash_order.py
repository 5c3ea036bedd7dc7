"""What is planned hangs on what is asked alone: not on the order in which a process happens to hash words."""

import os
import subprocess
import sys

import pytest

PLANS = """
import sys, lashley
bench = lashley.open_model("embedded-gpt2")
asked = '"The capital of {France} is" = Paris against {Japan} = Tokyo'
claims = [f"{site} contributes to {asked}" for site in ("L1.mlp.n5", "L2.mlp.n7", "L0.attn.h1+L2.mlp@final")]
study = lashley.audit(bench, *claims, controls=3, others=1, corruption="replace", study=sys.argv[1])
print(*study.table["sweep"].unique())
"""


@pytest.mark.real  # three processes, each of which opens the model
def test_an_audit_is_the_same_under_every_order_of_hashes(tmp_path):
    made = {
        subprocess.run(
            [sys.executable, "-c", PLANS, str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(made) == 1
