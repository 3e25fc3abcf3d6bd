#!/bin/bash
# Submits the 9 elements of this run in 3 waves; a wave begins when those that it reads from have ended:
#   1. make, add in 4 elements of one tile
#   2. total on the survey, after 1
#   3. share in 4 elements of one tile, after 1, 2
# Refuses while jobs of this run are in the queue, or somebody else works in the run directory. With --dry-run it only
# says what it would do. Written by `astrosurvey plan --slurm-array`.
cd "$(dirname "$0")" || exit
module load python

exec /opt/as/bin/python -m astrosurvey.engines.array.submit .. "$@"
