"""Posteriors against parameters that are known."""
