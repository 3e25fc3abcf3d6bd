"""Simulation-based inference: priors, simulators, estimators, calibration."""
