#!/bin/bash
# Wave 3 of 3: share in 4 elements of one tile.
# Written by `astrosurvey plan --slurm-array`; submitted by submit.sh, in this folder.
#SBATCH --job-name=astrosurvey-golden
#SBATCH --array=0-3%2
#SBATCH --output=output/3-0/%a.txt
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16384M
#SBATCH --time=36:00:00
#SBATCH --partition=long
#SBATCH --account=survey
#SBATCH --gres=gpu:1
#SBATCH --constraint=ib

module load python
export NUMBA_NUM_THREADS=8 OMP_NUM_THREADS=8 OPENBLAS_NUM_THREADS=8 MKL_NUM_THREADS=8
export ASTROSURVEY_SCRATCH="$SCRATCH"
mkdir -p "$ASTROSURVEY_SCRATCH"

# A signal goes on to the supervisor, and this shell waits on. After SIGTERM somebody wants the job to be gone.
supervisor=
gone=
trap '[ -z "$supervisor" ] || kill -USR1 "$supervisor"' USR1
trap 'gone=1; [ -z "$supervisor" ] || kill -TERM "$supervisor"' TERM
/opt/as/bin/python -m astrosurvey task .. $((${1:-5} + SLURM_ARRAY_TASK_ID)) &
supervisor=$!
while wait "$supervisor"; kill -0 "$supervisor" 2>/dev/null; do :; done
wait "$supervisor"
code=$?

if [ -z "$gone" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
    trap '' TERM  # which Slurm sends when it takes the job back
    case $code in
    75)
        scontrol requeue "$SLURM_JOB_ID"
        ;;
    76 | 137)  # 137: the kernel itself ended the supervisor
        scontrol requeuehold "$SLURM_JOB_ID"
        scontrol update JobId="$SLURM_JOB_ID" MinMemoryNode=24576
        scontrol release "$SLURM_JOB_ID"
        ;;
    esac
fi
exit "$code"
