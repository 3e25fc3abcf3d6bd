"""`astrosurvey engine check`: whatever is wrong with a site is one line."""

import pytest

pytest.importorskip("dask_jobqueue")

from click.testing import CliRunner

from astrosurvey import api
from astrosurvey.cli import cli


def checked(site, folder, wait=20):
    ((_, ok, text),) = api.try_engine(site, folder, wait)
    assert "\n" not in text
    return ok, text


def test_a_site_that_works_says_what_a_worker_finds(slurm, site_file, tmp_path):
    slurm.states("1|RUNNING|None")
    ok, text = checked(site_file(f"scratch: {tmp_path / 'scratch'}\n"), tmp_path)
    assert ok, text
    assert "started on" in text
    assert "no GPU" in text
    assert f"scratch {tmp_path / 'scratch'}" in text
    assert slurm.cancelled == ["1"]
    assert not list(tmp_path.glob(".astrosurvey-check-*"))


def test_a_gpu_that_is_not_given(slurm, site_file, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "gave the job no GPU" in checked(site_file("gpus: 1\n"), tmp_path)[1]


def test_a_scratch_folder_that_cannot_be_written(slurm, site_file, tmp_path):
    assert "cannot write to the scratch folder /proc/none" in checked(site_file("scratch: /proc/none\n"), tmp_path)[1]


def test_the_batch_systems_own_words(slurm, site_file, tmp_path):
    slurm.refuses("sbatch: error: invalid partition specified: nowhere")
    assert checked(site_file(), tmp_path) == (False, "sbatch refused the job: sbatch: error: invalid partition specified: nowhere")


def test_a_command_that_is_not_there(site_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "command qsub not found" in checked(site_file(engine="pbs"), tmp_path)[1]


def test_a_job_that_waits(slurm, site_file, tmp_path):
    slurm.waits()
    slurm.states("1|PENDING|QOSMaxJobsPerUserLimit")
    assert checked(site_file(), tmp_path, 1.5) == (False, "job 1 has waited 1.5 s in the queue: QOSMaxJobsPerUserLimit")
    assert slurm.cancelled == ["1"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "there is no Python /no/python on the node"),
        ("setup: ['echo No module named astrosurvey >&2; exit 1']\n", "/no/python, lacks astrosurvey"),
        ("setup: ['echo No module named astrosurvey.engines.probe >&2; exit 1']\n", "/no/python, has another version of astrosurvey"),
        ("setup: ['echo module: command not found >&2; exit 1']\n", "it said: module: command not found"),
        ("setup: [exit 1]\n", "it left nothing in"),
    ],
)
def test_a_job_that_ends_without_an_answer(slurm, site_file, tmp_path, monkeypatch, more, said):
    from astrosurvey.engines import check

    monkeypatch.setattr(check, "_GRACE", 0)
    monkeypatch.setattr(check, "_LOOK_EVERY", 0.2)
    path = site_file(more)
    path.write_text(path.read_text().replace("python: ", "python: /no/python # "))
    ok, text = checked(path, tmp_path)
    assert not ok
    assert said in text


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"version": "0.0.1"}, "node7 has astrosurvey 0.0.1, and here it is"),
        ({"python": "3.9.2"}, "node7 runs Python 3.9, and here it is"),
        (
            {"network": "Connection refused"},
            "node7 cannot reach this host at tcp://127.0.0.1:1: Connection refused; set `interface` or `host`",
        ),
        ({"folder": "No such file or directory"}, "put runs on a disk that nodes share"),
        ({"visible": "0", "gpus": 0, "gpu_error": "no CUDA driver"}, "gave the job GPU 0, but CUDA cannot use it: no CUDA driver"),
        ({"visible": "3", "gpus": 1}, "GPU 3"),
    ],
)
def test_what_an_answer_means(site_file, tmp_path, seen, said):
    import platform

    from astrosurvey import __version__
    from astrosurvey.engines.check import _Probe
    from astrosurvey.engines.site import read_site

    site = read_site(site_file("gpus: 1\n"))
    probe = _Probe(site, "default", site.resources_for("x"), tmp_path, "tcp://127.0.0.1:1", {})
    well = {"host": "node7", "version": __version__, "python": platform.python_version(), "cores": 8, "memory": 10**10, "scratch": ""}
    well |= {"scratch_error": "", "visible": "0", "gpus": 1, "gpu_error": "", "folder": "", "network": ""}
    _, ok, text = probe.judge(well | seen, 3)
    assert said in text
    assert ok == (said == "GPU 3")


def test_an_interface_that_is_not_there(site_file, tmp_path):
    path = site_file()
    path.write_text(path.read_text().replace("host: 127.0.0.1", "interface: ib77"))
    with pytest.raises(api.EngineError, match="no network interface 'ib77' with an address; it has"):
        api.try_engine(path, tmp_path)


def test_a_host_that_is_not_this_one(site_file, tmp_path):
    path = site_file()
    path.write_text(path.read_text().replace("127.0.0.1", "192.0.2.1"))
    with pytest.raises(api.EngineError, match="cannot listen at 192.0.2.1"):
        api.try_engine(path, tmp_path)


def test_the_command_exits_with_2_when_something_is_wrong(slurm, site_file, tmp_path):
    slurm.refuses("no")
    done = CliRunner().invoke(cli, ["engine", "check", "--engine", str(site_file()), "--folder", str(tmp_path)], standalone_mode=False)
    assert done.return_value == 2
    assert done.output == "!!  default: sbatch refused the job: no\n"


def test_scripts_are_shown_and_nothing_is_submitted(slurm, site_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = site_file("resources: {detection.*: {gpus: 1}}\n")
    done = CliRunner().invoke(cli, ["engine", "script", "--engine", str(path), "--name", "dr1"])
    assert "# detection\n" in done.output
    assert "#SBATCH -J dr1-default" in done.output
    assert not (slurm.folder / "number").exists()
    assert not (tmp_path / "dr1").exists()
