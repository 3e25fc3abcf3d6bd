"""Simulated skies: one sky, defined by its settings, of which any tile renders its window."""
