#!/usr/bin/env bash

#BSUB -J dr1-detection
#BSUB -e /runs/dr1/jobs/dr1-detection-0-%J.err
#BSUB -o /runs/dr1/jobs/dr1-detection-0-%J.out
#BSUB -q gpu
#BSUB -P "survey"
#BSUB -n 8
#BSUB -R "span[hosts=1]"
#BSUB -M 17180
#BSUB -W 26:30
#BSUB -R "rusage[mem=17180]"
#BSUB -gpu "num=1"
#BSUB -R "select[rhel8]"
module load python/3.11
source /opt/survey/bin/activate
export NUMBA_NUM_THREADS=8 OMP_NUM_THREADS=8 OPENBLAS_NUM_THREADS=8 MKL_NUM_THREADS=8
export ASTROSURVEY_LIFETIME=85860
export ASTROSURVEY_SCRATCH="/scratch/$USER"
mkdir -p "$ASTROSURVEY_SCRATCH"
/opt/survey/bin/python -m distributed.cli.dask_worker tls://COORDINATOR:PORT --name dr1-detection-0 --nthreads 1 --memory-limit 16.00GiB --nanny --death-timeout 60 --local-directory /scratch/$USER --preload astrosurvey.engines.worker --preload astrosurvey.plugins --preload-nanny astrosurvey.engines.nanny --no-dashboard --interface ib0 --protocol tls --tls-ca-file /runs/dr1/tls/cert.pem --tls-cert /runs/dr1/tls/cert.pem --tls-key /runs/dr1/tls/key.pem
