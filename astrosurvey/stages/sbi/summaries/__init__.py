"""Stages that turn data into a few numbers which tell of the parameters."""
