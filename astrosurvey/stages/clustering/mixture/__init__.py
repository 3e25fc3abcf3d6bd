"""Gaussian mixtures over a uniform background."""
