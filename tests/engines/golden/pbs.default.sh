#!/usr/bin/env bash

#PBS -N dr1-default
#PBS -q workq
#PBS -A survey
#PBS -l select=1:ncpus=2:mem=3815mb
#PBS -l walltime=12:00:00
#PBS -e /runs/dr1/jobs/
#PBS -o /runs/dr1/jobs/
#PBS -V
#PBS -j oe
module load python/3.11
source /opt/survey/bin/activate
export NUMBA_NUM_THREADS=2 OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 MKL_NUM_THREADS=2
export ASTROSURVEY_LIFETIME=38880
export ASTROSURVEY_SCRATCH="$TMPDIR"
mkdir -p "$ASTROSURVEY_SCRATCH"
/opt/survey/bin/python -m distributed.cli.dask_worker tls://COORDINATOR:PORT --name dr1-default-0 --nthreads 1 --memory-limit 3.73GiB --nanny --death-timeout 60 --local-directory $TMPDIR --preload astrosurvey.engines.worker --preload astrosurvey.plugins --preload-nanny astrosurvey.engines.nanny --no-dashboard --interface ib0 --protocol tls --tls-ca-file /runs/dr1/tls/cert.pem --tls-cert /runs/dr1/tls/cert.pem --tls-key /runs/dr1/tls/key.pem
