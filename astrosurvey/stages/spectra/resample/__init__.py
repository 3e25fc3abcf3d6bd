"""Spectra on another wavelength grid."""
