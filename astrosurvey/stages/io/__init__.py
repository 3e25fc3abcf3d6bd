"""Stages that read what observatories deliver."""
