"""Reading observed data for inference."""
