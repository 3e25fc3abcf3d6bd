"""Catalogues of the whole survey."""
