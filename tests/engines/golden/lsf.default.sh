#!/usr/bin/env bash

#BSUB -J dr1-default
#BSUB -e /runs/dr1/jobs/dr1-default-0-%J.err
#BSUB -o /runs/dr1/jobs/dr1-default-0-%J.out
#BSUB -q normal
#BSUB -P "survey"
#BSUB -n 2
#BSUB -R "span[hosts=1]"
#BSUB -M 4000
#BSUB -W 12:00
#BSUB -R "rusage[mem=4000]"
#BSUB -R "select[rhel8]"
module load python/3.11
source /opt/survey/bin/activate
export NUMBA_NUM_THREADS=2 OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 MKL_NUM_THREADS=2
export ASTROSURVEY_LIFETIME=38880
export ASTROSURVEY_SCRATCH="/scratch/$USER"
mkdir -p "$ASTROSURVEY_SCRATCH"
/opt/survey/bin/python -m distributed.cli.dask_worker tls://COORDINATOR:PORT --name dr1-default-0 --nthreads 1 --memory-limit 3.73GiB --nanny --death-timeout 60 --local-directory /scratch/$USER --preload astrosurvey.engines.worker --preload astrosurvey.plugins --preload-nanny astrosurvey.engines.nanny --no-dashboard --interface ib0 --protocol tls --tls-ca-file /runs/dr1/tls/cert.pem --tls-cert /runs/dr1/tls/cert.pem --tls-key /runs/dr1/tls/key.pem
