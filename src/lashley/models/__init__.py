"""The only room that writes weights: models whose truth is known, and the one that ships."""
