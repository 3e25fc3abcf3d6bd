"""Clusters that last: through measurement errors, through time, or through many ways of clustering."""
