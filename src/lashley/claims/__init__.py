"""Claims: their language, criteria and verdicts. Pure; never imports torch."""
