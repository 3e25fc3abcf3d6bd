"""Network and templates together: one class, redshift and probability for each spectrum."""
