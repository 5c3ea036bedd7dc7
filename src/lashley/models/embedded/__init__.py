"""The embedded model: a small Llama that this project trained on its own fact base."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
