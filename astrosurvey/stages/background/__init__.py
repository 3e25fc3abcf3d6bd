"""Sky background."""
