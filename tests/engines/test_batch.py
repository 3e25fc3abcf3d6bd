"""Engines on batch systems: pools, jobs that are written down, and jobs that never get a worker."""

import json
import time

import pytest

pytest.importorskip("dask_jobqueue")

from astrosurvey import api
from astrosurvey.engines import batch
from astrosurvey.engines.jobs import Jobs, cancel_left
from astrosurvey.engines.site import BatchSite
from astrosurvey.engines.systems import SYSTEMS, JobState, NoAnswer

SITE = {
    "engine": "slurm",
    "memory": "1GB",
    "walltime": "01:00:00",
    "host": "127.0.0.1",
    "memory_max": "3GB",
    "time_limit": 60,
    "workers": {"minimum": 1, "maximum": 4},
    "resources": {"detection.*": {"gpus": 1, "maximum": 2}, "deblending.*": {"gpus": 1, "maximum": 2, "time_limit": 5}},
}


def resources(tmp_path, **changes):
    return batch.BatchResources(BatchSite.model_validate(SITE | changes), tmp_path)


def test_stages_that_ask_for_the_same_share_a_pool(tmp_path):
    made = resources(tmp_path)
    assert made.pool("detection.unet", 1) is made.pool("deblending.unet", 1)
    pools = [made.pool("detection.unet", 1), made.pool("io.image", 1), made.pool("io.image", 2), made.pool("io.image", 8)]
    assert [(pool.name, pool.workers) for pool in pools] == [("detection", 2), ("default", 4), ("default-2000MB", 4), ("default-3000MB", 4)]


def test_more_memory_ends_at_what_jobs_may_ask_for(tmp_path):
    made = resources(tmp_path)
    assert [made.more_memory("io.image", memory) for memory in (1, 2, 3)] == [2, 3, 3]
    assert made.time_limit("io.image") == 60
    assert made.time_limit("deblending.unet") == 5


@pytest.mark.parametrize("why", ["refused", "ended"])
def test_jobs_that_never_get_a_worker_are_trouble_and_not_an_endless_wait(slurm, tmp_path, monkeypatch, why):
    for name in ("_INTERVAL", "_FIRST_LOOK", "_LATER_LOOKS"):
        monkeypatch.setattr(batch, name, 0.1)
    if why == "refused":
        slurm.refuses("sbatch: error: no account")
    else:
        slurm.write("sbatch", slurm.folder.joinpath("sbatch").read_text().replace("bash ", "echo no such module >&2 #"))
    cluster = resources(tmp_path).pool("io.image", 1).start()
    try:
        deadline = time.monotonic() + 30
        while not cluster.trouble and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        cluster.close()
    said = "sbatch refused the job: sbatch: error: no account" if why == "refused" else "ended before its worker came up"
    assert cluster.trouble.startswith("slurm, pool default: ")
    assert said in cluster.trouble
    assert not (tmp_path / "engine.json").exists()


def test_a_job_is_in_the_run_directory_while_it_lives(tmp_path):
    jobs = Jobs(tmp_path, "slurm")
    jobs.add("17", "default")
    jobs.add("18", "detection")
    assert json.loads((tmp_path / "engine.json").read_text()) == {"engine": "slurm", "jobs": {"17": "default", "18": "detection"}}
    jobs.remove("17")
    jobs.remove("17")
    jobs.remove("18")
    assert not (tmp_path / "engine.json").exists()


def test_what_a_killed_driver_left_is_cancelled_by_the_next_run(slurm, toy_pipeline, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    Jobs(run, "slurm").add("17", "default")
    assert api.run(toy_pipeline(stages={"make": {"use": "toy.make"}}, tiles=["a"]), run).exit_code == 0
    assert slurm.cancelled == ["17"]
    assert not (run / "engine.json").exists()
    Jobs(run, "slurm").add("18", "default")  # one that was killed when all was done
    assert api.run(toy_pipeline(stages={"make": {"use": "toy.make"}}, tiles=["a"]), run).counts["make", "cached"] == 1
    assert slurm.cancelled == ["17", "18"]


def test_jobs_that_are_unknown_keep_none_from_being_cancelled(slurm, tmp_path, caplog):
    refuses = 'case " $* " in *" 17 "*) echo "scancel: error: Kill job error on job id 17: Invalid job id specified" >&2; exit 1;; esac'
    slurm.write("scancel", f'#!/bin/sh\n{refuses}\necho "$@" >> {slurm.folder}/cancelled\n')
    jobs = Jobs(tmp_path, "slurm")
    jobs.add("17", "default")
    jobs.add("18", "default")
    assert cancel_left(tmp_path) == ["17", "18"]
    assert slurm.cancelled == ["18"]
    slurm.write("scancel", "#!/bin/sh\necho 'scancel: error: Unable to contact slurm controller' >&2; exit 1\n")
    jobs.add("19", "default")
    assert cancel_left(tmp_path) == []
    assert "cannot be cancelled: scancel: scancel: error: Unable to contact slurm controller" in caplog.text
    Jobs(tmp_path, "slurm").add("20", "default")  # this driver goes on without, and the next one tries both
    assert list(json.loads((tmp_path / "engine.json").read_text())["jobs"])[-2:] == ["19", "20"]


def test_without_the_commands_it_is_said_and_kept(tmp_path, monkeypatch, caplog):
    Jobs(tmp_path, "lsf").add("17", "default")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cancel_left(tmp_path) == []
    assert "jobs 17 of an earlier driver cannot be cancelled: command bkill not found" in caplog.text
    assert (tmp_path / "engine.json").exists()


def test_a_list_of_jobs_that_is_rubbish_is_said(tmp_path, caplog):
    (tmp_path / "engine.json").write_text('{"engine": 1')
    assert cancel_left(tmp_path) == []
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(("name", "what"), [("my run", "a blank"), ("o'neill", "'"), ("dr1(deep)", "\\("), ("$HOME", "\\$")])
def test_a_run_directory_that_no_job_script_can_name_is_refused(site_file, tmp_path, name, what):
    with pytest.raises(api.EngineError, match=f"it has {what} in it; choose another with --out"):
        api.engine_factory(str(site_file()), run=tmp_path / name)


def test_without_dask_jobqueue_the_extra_is_named(site_file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(api.EngineError, match=r"pip install 'astrosurvey\[cluster\]'"):
        api.engine_factory(str(site_file()))


def test_a_batch_system_needs_a_site_file():
    with pytest.raises(api.EngineError, match="engine slurm needs a site file"):
        api.engine_factory("slurm")


QSTAT = """\
Job Id: 17.server
    Job_Name = dr1
    job_state = Q
    comment = Not Running: Insufficient amount o
\tf resource: ngpus
Job Id: 18.server
    job_state = R
Job Id: 19.server
    job_state = F
"""

ANSWERS = [
    ("slurm", "17|PENDING|Resources\n18|RUNNING|None\n19|COMPLETING|None\n20|PENDING|None\n", "17", "18", "Resources"),
    ("pbs", QSTAT, "17", "18", "Not Running: Insufficient amount of resource: ngpus"),
    ("htcondor", "17 0 5 Error from slot1: disk full\n18 0 2 undefined\n19 0 4 undefined\n20 0 1 undefined\n", "17.0", "18.0", "held: Error from slot1: disk full"),
    ("lsf", "17|PEND|New job is waiting for scheduling;\n18|RUN| - \n19|EXIT| - \n", "17", "18", "New job is waiting for scheduling"),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "text", "waiting", "running", "reason"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_what_a_system_says_of_jobs(engine, text, waiting, running, reason):
    states = SYSTEMS[engine].parse(text)
    assert states[waiting] == JobState(False, reason)
    assert states[running] == JobState(True)
    assert not any(job.startswith("19") for job in states)


def test_only_the_jobs_that_were_asked_for_count(slurm):
    slurm.states("17|RUNNING|None", "18|RUNNING|None")
    assert SYSTEMS["slurm"].states(["17", "99"]) == {"17": JobState(True)}


def test_a_system_that_does_not_answer_is_no_news(slurm):
    slurm.write("squeue", "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(NoAnswer, match="Unable to contact slurm controller"):
        SYSTEMS["slurm"].states(["17"])
    slurm.write("squeue", "#!/bin/sh\necho 'Unknown Job Id 17' >&2; exit 153\n")
    assert SYSTEMS["slurm"].states(["17"]) == {}


def test_a_run_has_a_certificate_that_only_its_owner_reads(tmp_path):
    from astrosurvey.engines import tls

    security = tls.make(tmp_path)
    assert security.require_encryption
    assert security.get_connection_args("client")["ssl_context"] is not None
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "tls" / "key.pem").stat().st_mode & 0o777 == 0o600
    with_another = tls.make(tmp_path)
    assert with_another.tls_worker_key == security.tls_worker_key


def test_without_openssl_it_is_said(tmp_path, monkeypatch, caplog):
    from astrosurvey.engines import tls

    monkeypatch.setenv("PATH", str(tmp_path))
    assert tls.make(tmp_path) is None
    assert "whoever reaches the port of this run's scheduler can run code as you" in caplog.text
