"""Splitting blended sources."""
