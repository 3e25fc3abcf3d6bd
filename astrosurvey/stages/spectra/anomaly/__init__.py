"""Spectra that are unlike everything known: a probabilistic autoencoder of the rest frame."""
