"""Clean and corrupted pairs of prompts that a model knows, and what is kept as reference."""
