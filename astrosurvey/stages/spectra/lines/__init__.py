"""Emission and absorption lines: their names, their fluxes and widths, and what they say of the object."""
