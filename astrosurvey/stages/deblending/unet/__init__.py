"""Deblending by a U-Net: what the network sees, what it is taught, and how its answer becomes fluxes."""
