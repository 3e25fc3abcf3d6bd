"""What a spectrum is and its redshift, by an ensemble of small networks."""
