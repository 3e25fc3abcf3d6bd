"""Spectra that do not exist, with the truth about them."""
