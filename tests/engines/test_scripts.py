"""Job scripts as each batch system gets them, compared with files that a person has read."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue")

from astrosurvey.engines.batch import job_class
from astrosurvey.engines.jobs import Jobs
from astrosurvey.engines.script import job_name, job_script
from astrosurvey.engines.site import read_site

GOLDEN = Path(__file__).parent / "golden"


def made(engine, kind):
    site = read_site(GOLDEN / f"{engine}.yaml")
    request = site.kinds()[kind]
    return job_script(job_class(engine, Jobs(Path("/runs/dr1"), engine), kind), site, request, f"dr1-{kind}", Path("/runs/dr1/jobs"))


@pytest.mark.parametrize("kind", ["detection", "default"])
@pytest.mark.parametrize("engine", ["slurm", "pbs", "htcondor", "lsf"])
def test_a_job_script_is_what_was_read(engine, kind, monkeypatch):
    monkeypatch.delenv("ASTROSURVEY_PLUGINS", raising=False)
    monkeypatch.setenv("LSF_ENVDIR", str(GOLDEN))
    monkeypatch.setattr(sys, "executable", "/opt/survey/bin/python")
    assert made(engine, kind) == (GOLDEN / f"{engine}.{kind}.sh").read_text()


def test_plugins_are_named_to_the_worker(monkeypatch):
    monkeypatch.setenv("ASTROSURVEY_PLUGINS", "one,two")
    assert "export ASTROSURVEY_PLUGINS=one,two\n" in made("slurm", "default")


@pytest.mark.parametrize(
    ("engine", "name", "plain"),
    [("slurm", "dr 1/deep", "dr_1_deep"), ("pbs", "2mass-detection-again", "r2mass-detectio"), ("lsf", "été", "r_t_")],
)
def test_a_job_has_a_name_that_its_system_takes(engine, name, plain):
    assert job_name(engine, name) == plain
