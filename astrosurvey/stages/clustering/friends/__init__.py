"""Groups of galaxies, and haloes."""
