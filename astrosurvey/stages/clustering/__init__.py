"""Structure in catalogues: clusters, streams, groups and haloes, each with what its method says of it."""
