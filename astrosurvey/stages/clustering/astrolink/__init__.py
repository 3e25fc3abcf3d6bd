"""Clusters nested in each other, each as significant as a featureless field says."""
