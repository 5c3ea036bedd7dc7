"""Circuits as sets of edges: chosen, cut down, drawn at random, scored, written and read. No torch."""
