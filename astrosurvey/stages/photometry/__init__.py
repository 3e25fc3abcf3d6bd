"""Fluxes in apertures."""
