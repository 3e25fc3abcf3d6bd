"""Catalogues that other people have published, in whatever format, as rows of the table `source`."""
