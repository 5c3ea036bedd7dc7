"""Inference and controls: intervals, permutations, matched sets, screens, agreement. Never imports torch."""
