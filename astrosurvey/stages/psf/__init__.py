"""The point-spread function, measured on stars, and what it tells stars from galaxies."""
