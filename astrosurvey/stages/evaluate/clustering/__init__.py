"""Clusters against the structures that are known to be there."""
