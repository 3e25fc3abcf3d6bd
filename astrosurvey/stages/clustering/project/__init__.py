"""Many columns on a page."""
