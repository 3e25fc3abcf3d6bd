"""Simulators that ship with astrosurvey, one a file."""
