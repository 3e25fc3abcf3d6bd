"""Runs as job arrays: how the graph is cut into waves, the scripts, and who may submit them."""

import json
import subprocess
from pathlib import Path

import pytest

from astrosurvey.core.lock import LockHeld
from astrosurvey.engines.array import layout, slurm
from astrosurvey.engines.array.jobs import Job, Jobs, refuse_queued
from astrosurvey.engines.array.submit import submit
from astrosurvey.engines.array.waves import group_stages
from astrosurvey.engines.array.write import write_array
from astrosurvey.engines.site import BatchSite

GOLDEN = Path(__file__).parent / "golden"
STAGES = {
    "make": {"use": "toy.make"},
    "add": {"use": "toy.add", "in": "make"},
    "total": {"use": "toy.total", "in": "add"},
    "share": {"use": "toy.share", "in": {"number": "add", "total": "total.number"}},
}


def site(**more):
    values = {"engine": "slurm", "memory": "1GiB", "walltime": "02:00:00", "python": "/opt/as/bin/python", "workers": {"maximum": 50}}
    return BatchSite.model_validate({**values, "array": {"max_size": 1001}, **more})


@pytest.fixture
def pipeline(toy_pipeline):
    return lambda tiles=4, stages=STAGES: toy_pipeline(tiles={"count": tiles}, stages=stages)


def test_a_wave_ends_where_all_tiles_are_wanted(pipeline):
    groups = group_stages(pipeline(), site().resources_for)
    assert [(g.stages, g.scope, g.after) for g in groups] == [
        (("make", "add"), "tile", ()),
        (("total",), "survey", (0,)),
        (("share",), "tile", (0, 1)),
    ]


def test_a_wave_ends_where_other_resources_are_wanted(pipeline):
    stages = {
        "make": {"use": "toy.make"},
        "add": {"use": "toy.add", "in": "make"},
        "random": {"use": "toy.random", "in": "add"},
        "aside": {"use": "toy.random", "in": "make"},
    }
    groups = group_stages(pipeline(stages=stages), site(resources={"toy.add": {"gpus": 1}}).resources_for)
    assert [(g.stages, g.resources.gpus, g.after) for g in groups] == [
        (("make", "aside"), 0, ()),
        (("add",), 1, (0,)),
        (("random",), 0, (1,)),
    ]


@pytest.mark.parametrize(
    ("tiles", "array", "elements", "each", "arrays"),
    [
        (4, {"max_size": 1001}, 4, 1, [(0, 0, 4)]),
        (7, {"max_size": 3}, 3, 3, [(0, 0, 3)]),
        (7, {"max_size": 3, "tiles": 1}, 7, 1, [(0, 0, 3), (1, 3, 3), (2, 6, 1)]),
        (3000, {"max_size": 100_000}, 3000, 1, [(0, 0, 1001), (1, 1001, 1001), (2, 2002, 998)]),
    ],
)
def test_elements_keep_within_the_largest_array(pipeline, tmp_path, tiles, array, elements, each, arrays):
    plan = write_array(pipeline(tiles), tmp_path, site(array=array))
    wave = plan.waves[0]
    assert (wave.elements, wave.tiles, list(plan.parts(wave))) == (elements, each, arrays)
    assert sum(len(plan.tiles_of(element)) for element in plan.elements[:elements][:7]) == min(tiles, 7 * each)
    assert plan == layout.read_plan(tmp_path)


def test_an_element_knows_its_tiles_as_the_pipeline_does(pipeline, tmp_path):
    checked = pipeline(7)
    plan = write_array(checked, tmp_path, site(array={"tiles": 3, "max_size": 1001}))
    assert [tile for element in range(3) for tile in plan.tiles_of(element)] == checked.tiles()
    assert plan.tiles_of(3) == checked.tiles()  # that of the survey-scope wave
    assert plan.elements_with(plan.waves[0], plan.tiles_of(2)) == [2]
    with pytest.raises(layout.ArrayError, match="no element 99"):
        plan.wave_of(99)


def test_the_scripts(pipeline, tmp_path, monkeypatch):
    """A change of these is a change of what runs at people's sites: look at it, then copy it to tests/engines/golden."""
    monkeypatch.delenv("ASTROSURVEY_PLUGINS", raising=False)  # which the scripts would hand on
    rich = site(
        queue="long",
        account="survey",
        setup=["module load python"],
        scratch="$SCRATCH",
        directives=["--constraint=ib"],
        resources={"toy.share": {"gpus": 1, "cores": 8, "memory": "16GiB", "walltime": "1-12:00:00", "maximum": 2}},
        memory_max="24GiB",
    )
    plan = write_array(pipeline(), tmp_path, rich, name="astrosurvey-golden")
    for name in ("wave-1.sh", "wave-3.sh", "submit.sh"):
        text = (plan.folder / name).read_text()
        assert text == (GOLDEN / f"array-{name}").read_text()
        subprocess.run(["bash", "-n", plan.folder / name], check=True)
    assert not any(part in text for part in (str(tmp_path), "t0001"))


def test_an_older_plan_is_replaced_unless_its_jobs_are_queued(pipeline, tmp_path, monkeypatch):
    plan = write_array(pipeline(), tmp_path, site())
    Jobs(plan.folder / "jobs.json", 1.0, jobs=[Job("12", 1, 0)]).save()
    monkeypatch.setattr(slurm, "queued", lambda name: ["12_0", "12_1"])
    with pytest.raises(LockHeld, match="2 jobs of .* are in Slurm's queue, the first 12_0"):
        write_array(pipeline(), tmp_path, site())
    monkeypatch.setattr(slurm, "queued", lambda name: [])
    assert write_array(pipeline(5), tmp_path, site()).tiles == 5
    assert not (plan.folder / "jobs.json").exists()


def test_nobody_begins_where_the_queue_cannot_be_asked(pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = write_array(pipeline(), tmp_path, site())
    refuse_queued(tmp_path)
    Jobs(plan.folder / "jobs.json", 1.0, jobs=[Job("12", 1, 0)]).save()
    with pytest.raises(LockHeld, match="cannot be seen: command squeue not found; do this where"):
        refuse_queued(tmp_path)
    Jobs(plan.folder / "jobs.json", 1.0, collected=True, jobs=[Job("12", 1, 0)]).save()
    refuse_queued(tmp_path)


def test_nothing_is_submitted_where_there_is_no_slurm(pipeline, tmp_path, monkeypatch):
    write_array(pipeline(), tmp_path, site())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(layout.ArrayError, match="command sbatch not found"):
        submit(tmp_path)


def test_places_of_an_array_as_slurm_has_them():
    assert slurm._ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


def test_the_command_writes_a_plan(command_here, tmp_path):
    (tmp_path / "p.yaml").write_text("astrosurvey: 1\ntiles: {count: 2, size: 64}\nstages:\n  sim: {use: simulate.sky, bands: [r]}\n")
    (tmp_path / "site.yaml").write_text("engine: slurm\nmemory: 1GB\nwalltime: 01:00:00\n")
    done = command_here("plan", "p.yaml", "--slurm-array", "--engine", "site.yaml", "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["waves"][0]["stages"] == ["sim"]
    assert "--slurm-array needs --engine" in command_here("plan", "p.yaml", "--slurm-array").stderr
    assert "leave --from" in command_here("plan", "p.yaml", "--slurm-array", "--engine", "site.yaml", "--only", "sim").stderr
