"""Runs as plain Slurm job arrays, for sites that allow no daemon: planned ahead, chained by Slurm, gathered from files."""
