"""The engine at the address of a scheduler that somebody else runs."""

import json

import dask
import pytest
from distributed import LocalCluster

from astrosurvey import api
from astrosurvey.core.run import ExitCode, run_pipeline
from astrosurvey.engines import address


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as made:
        yield made


def site(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(f"engine: address\nwait: 2\n{text}")
    return path


def test_a_pipeline_runs_there_and_leaves_the_scheduler_up(cluster, toy_pipeline, tmp_path):
    (tmp_path / "scheduler.json").write_text(json.dumps({"address": cluster.scheduler_address}))
    path = site(tmp_path, f"scheduler_file: {tmp_path / 'scheduler.json'}\ntime_limit: 50\n")
    pipeline = toy_pipeline(stages={"make": {"use": "toy.make"}}, tiles=["a", "b", "c"])
    result = run_pipeline(pipeline, tmp_path / "run", engine=api.engine_factory(str(path), run=tmp_path / "run"))
    assert result.exit_code == 0, result.failures
    assert api.try_engine(path, tmp_path) == [("address", True, f"1 worker at {cluster.scheduler_address}")]


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"astrosurvey": None}, "has no astrosurvey; install astrosurvey"),
        ({"astrosurvey": "0.0.1"}, "has astrosurvey 0.0.1, and here it is"),
        ({"python": "3.9.2.final.0"}, "runs Python 3.9, and here it is"),
    ],
)
def test_workers_that_are_not_like_this_process(cluster, tmp_path, monkeypatch, versions, said):
    from distributed import Client

    there = Client.get_versions

    def changed(self, **options):
        found = there(self, **options)
        for about in found["workers"].values():
            about["packages"] |= versions
        return found

    monkeypatch.setattr(Client, "get_versions", changed)
    assert said in api.try_engine(site(tmp_path, f"address: {cluster.scheduler_address}\n"), tmp_path)[0][2]


def test_workers_that_do_not_see_the_run(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(address, "_sees", lambda token: False)
    (_, ok, text) = api.try_engine(site(tmp_path, f"address: {cluster.scheduler_address}\n"), tmp_path)[0]
    assert not ok
    assert "cannot see or write the run directory" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("address: tcp://127.0.0.1:9\n", "no Dask scheduler answers"),
        (
            "scheduler_file: /no/such.json\n",
            "cannot read the scheduler file /no/such.json: No such file or directory; is the scheduler running?",
        ),
        ("scheduler_file: site.yaml\n", "is no scheduler file"),
    ],
)
def test_no_scheduler(tmp_path, toy_pipeline, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    file = site(tmp_path, text)
    (_, ok, found) = api.try_engine(file, tmp_path)[0]
    assert not ok
    assert said in found
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        result = api.run(toy_pipeline(stages={"make": {"use": "toy.make"}}, tiles=["a"]), tmp_path / "run", engine=str(file))
    assert result.exit_code == ExitCode.STOPPED
    assert said in result.stopped


@pytest.mark.parametrize(
    ("workers", "threads", "said"),
    [(0, 1, "has no worker, and none came in 2 s"), (1, 2, "works on 2 tasks at once; start it with --nthreads 1")],
)
def test_workers_that_cannot_be_used(tmp_path, workers, threads, said):
    with LocalCluster(
        n_workers=workers, threads_per_worker=threads, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as made:
        assert said in api.try_engine(site(tmp_path, f"address: {made.scheduler_address}\n"), tmp_path)[0][2]
