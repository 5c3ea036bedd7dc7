"""One file a plant: `plant(bench, fact, strength=, seed=, ...) -> Truth` edits the model in place."""
