"""Inference in rounds: marginal posteriors, and priors cut to what the observations leave possible."""
