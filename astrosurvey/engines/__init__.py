"""Engines beyond this process: Dask workers of this machine and of a batch system."""
