"""The built-in plugin: one folder a stage family, using only the public API."""
