"""Measuring what a pipeline finds against what is known to be there."""
