"""Redshifts by fitting templates at every redshift."""
