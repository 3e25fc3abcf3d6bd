"""Catalogues in the formats of other tools."""
