"""Catalogues with clumps, streams and a background, of which it is known what belongs to what."""
