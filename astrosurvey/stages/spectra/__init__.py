"""Spectra: read them, and everything that is measured on them."""
