"""The engine: models, runs and edits, batched and shared; the only room that knows torch."""
