#!/usr/bin/env condor_submit

MY.DaskWorkerName = "htcondor--$F(MY.JobId)--"
batch_name = dr1-default-0
RequestCpus = MY.DaskWorkerCores
RequestMemory = floor(MY.DaskWorkerMemory / 1048576)
RequestDisk = floor(MY.DaskWorkerDisk / 1024)
MY.JobId = "$(ClusterId).$(ProcId)"
MY.DaskWorkerCores = 2
MY.DaskWorkerMemory = 4000000000
MY.DaskWorkerDisk = 10000000000
LogDirectory = /runs/dr1/jobs
Output = $(LogDirectory)/worker-$F(MY.JobId).out
Error = $(LogDirectory)/worker-$F(MY.JobId).err
Log = $(LogDirectory)/worker-$(ClusterId).log
Stream_Output = True
Stream_Error = True
periodic_remove = (JobStatus == 2) && (time() - EnteredCurrentStatus > 43200)
accounting_group = group_survey
requirements = (OpSysAndVer == "AlmaLinux9")

Arguments = "-c 'source /opt/survey/bin/activate; export NUMBA_NUM_THREADS=2 OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 MKL_NUM_THREADS=2; export ASTROSURVEY_LIFETIME=38880; export ASTROSURVEY_SCRATCH=""$_CONDOR_SCRATCH_DIR""; mkdir -p ""$ASTROSURVEY_SCRATCH""; /opt/survey/bin/python -m distributed.cli.dask_worker tls://COORDINATOR:PORT --name dr1-default-0 --nthreads 1 --memory-limit 3.73GiB --nanny --death-timeout 60 --local-directory $_CONDOR_SCRATCH_DIR --preload astrosurvey.engines.worker --preload astrosurvey.plugins --preload-nanny astrosurvey.engines.nanny --no-dashboard --protocol tls --tls-ca-file /runs/dr1/tls/cert.pem --tls-cert /runs/dr1/tls/cert.pem --tls-key /runs/dr1/tls/key.pem'"
Executable = /bin/bash

Queue
