"""Facts of the world, where they come from, and what can be asked about them. No torch."""
