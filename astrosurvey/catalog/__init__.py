"""The shared catalogue schema and what is done with its tables."""
