"""How well spectra are classed and their redshifts measured."""
