#!/usr/bin/env bash

#SBATCH -J dr1-detection
#SBATCH -e /runs/dr1/jobs/dr1-detection-%J.err
#SBATCH -o /runs/dr1/jobs/dr1-detection-%J.out
#SBATCH -p gpu
#SBATCH -A survey
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16384M
#SBATCH -t 26:30:00
#SBATCH --gres=gpu:1
#SBATCH --constraint=ib
module load python/3.11
source /opt/survey/bin/activate
export NUMBA_NUM_THREADS=8 OMP_NUM_THREADS=8 OPENBLAS_NUM_THREADS=8 MKL_NUM_THREADS=8
export ASTROSURVEY_LIFETIME=85860
export ASTROSURVEY_SCRATCH="$TMPDIR"
mkdir -p "$ASTROSURVEY_SCRATCH"
/opt/survey/bin/python -m distributed.cli.dask_worker tls://COORDINATOR:PORT --name dr1-detection-0 --nthreads 1 --memory-limit 16.00GiB --nanny --death-timeout 60 --local-directory $TMPDIR --preload astrosurvey.engines.worker --preload astrosurvey.plugins --preload-nanny astrosurvey.engines.nanny --no-dashboard --interface ib0 --protocol tls --tls-ca-file /runs/dr1/tls/cert.pem --tls-cert /runs/dr1/tls/cert.pem --tls-key /runs/dr1/tls/key.pem
