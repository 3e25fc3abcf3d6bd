"""Where tasks run: this machine's workers, batch systems, job arrays."""
