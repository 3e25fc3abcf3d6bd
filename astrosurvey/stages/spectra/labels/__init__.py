"""What people or other pipelines say that spectra are."""
