"""Whether posteriors mean what they say, and whether data look like the simulations that they were learnt from."""
