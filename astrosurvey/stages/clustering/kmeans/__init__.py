"""Cells of like size."""
