"""Source detection."""
