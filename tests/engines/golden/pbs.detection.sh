#!/usr/bin/env bash

#PBS -N dr1-detection
#PBS -q gpu
#PBS -A survey
#PBS -l select=1:ncpus=8:mem=16384mb:ngpus=1
#PBS -l walltime=26:30:00
#PBS -e /runs/dr1/jobs/
#PBS -o /runs/dr1/jobs/
#PBS -V
#PBS -j oe
module load python/3.11
source /opt/survey/bin/activate
export NUMBA_NUM_THREADS=8 OMP_NUM_THREADS=8 OPENBLAS_NUM_THREADS=8 MKL_NUM_THREADS=8
export ASTROSURVEY_LIFETIME=85860
export ASTROSURVEY_SCRATCH="$TMPDIR"
mkdir -p "$ASTROSURVEY_SCRATCH"
/opt/survey/bin/python -m distributed.cli.dask_worker tls://COORDINATOR:PORT --name dr1-detection-0 --nthreads 1 --memory-limit 16.00GiB --nanny --death-timeout 60 --local-directory $TMPDIR --preload astrosurvey.engines.worker --preload astrosurvey.plugins --preload-nanny astrosurvey.engines.nanny --no-dashboard --interface ib0 --protocol tls --tls-ca-file /runs/dr1/tls/cert.pem --tls-cert /runs/dr1/tls/cert.pem --tls-key /runs/dr1/tls/key.pem
