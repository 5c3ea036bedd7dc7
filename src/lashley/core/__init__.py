"""The nouns: plain frozen data that everything speaks in. No torch."""
