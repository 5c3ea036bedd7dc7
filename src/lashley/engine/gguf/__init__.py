"""A GGUF file as a model that transformers runs: every tensor, every parameter and every key is accounted for."""
