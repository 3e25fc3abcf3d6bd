"""Structure in catalogues: clusters, streams and groups."""
