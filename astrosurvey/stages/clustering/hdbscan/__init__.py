"""HDBSCAN*: clusters of any density."""
