import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = [Path(__file__).parents[2], Path(__file__).parents[1] / "toyplugin"]

CHAIN = """\
astrosurvey: 1
tiles: {count: 3}
stages:
  make: {use: toy.make}
  add: {use: toy.add, in: make}
  total: {use: toy.total, in: add}
"""


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    return path


def test_run_then_status_then_plan_then_explain(command, chain, tmp_path):
    ran = command("run", chain, "--no-report")
    assert ran.returncode == 0, ran.stderr
    assert "7 of 7 tasks done" in ran.stdout
    assert "device: cpu" in ran.stderr
    assert (tmp_path / "runs" / "chain" / "run.json").is_file()
    assert "done" in command("status", "runs/chain").stdout
    planned = command("plan", chain, "-c", "add.amount=9")
    assert "3 would run, 1 more may follow" in planned.stdout
    assert "config.amount: 1.0 → 9.0" in command("explain", chain, "total", "-c", "add.amount=9").stdout
    assert "7 tasks were up to date" in command("run", chain, "--no-report").stderr


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["run", "chain.yaml", "--no-report"], "counts"),
        (["plan", "chain.yaml"], "tasks"),
        (["validate", "chain.yaml"], "valid"),
        (["validate", "chain.yaml", "--resolved"], "stages"),
        (["explain", "chain.yaml", "add", "t0001"], "changes"),
        (["stages", "toy.add"], "settings"),
    ],
)
def test_json_is_json(command_here, chain, arguments, key):
    done = command_here(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert key in json.loads(done.stdout)


def test_a_simulators_parameters_and_features_are_told(command):
    said = command("stages", "simulate.stream").stdout
    assert "parameters:" in said
    assert "features, in this order:" in command("stages", "simulate.sed").stdout
    told = json.loads(command("stages", "simulate.sir", "--json").stdout)["details"]
    assert told["parameters"]["contact_rate"].startswith("d**-1, usually log_normal [")


@pytest.mark.parametrize("arguments", [["stages"], ["plugins"], ["models"], ["doctor"]])
def test_lists_as_json(command, arguments):
    assert isinstance(json.loads(command(*arguments, "--json").stdout), list)


def test_status_as_json_tells_states_and_exit_code(command_here, chain):
    command_here("run", chain, "--no-report")
    values = json.loads(command_here("status", "runs/chain", "--json").stdout)
    assert values["exit_code"] == 0
    assert values["counts"]["add"] == {"done": 3}


@pytest.mark.parametrize(("content", "code"), [("[]", 2), ("{}", 2), (None, 0)])
def test_status_of_damaged_files(command_here, chain, tmp_path, content, code):
    command_here("run", chain, "--no-report")
    if content is None:
        with (tmp_path / "runs" / "chain" / "events.jsonl").open("a") as stream:
            stream.write("[]\nnull\n{}\n")
    else:
        (tmp_path / "runs" / "chain" / "run.json").write_text(content)
    done = command_here("status", "runs/chain")
    assert done.returncode == code, done.stderr
    assert ("is no run directory" in done.stderr) == bool(code)


def test_status_works_from_another_shell_while_the_run_goes_on(command, tmp_path):
    path = tmp_path / "slow.yaml"
    path.write_text("astrosurvey: 1\ntiles: {count: 4}\nstages:\n  make: {use: toy.make, seconds: 3}\n")
    driver = command("run", path, "--no-report", wait=False)
    try:
        for _ in range(100):
            seen = command("status", "runs/slow", "--json")
            values = json.loads(seen.stdout) if seen.returncode == 0 else {}
            if values.get("running"):
                break
        assert values["state"] == "running"
        assert values["owner"]["pid"] == driver.pid
        second = command("run", path, "--no-report")
        assert second.returncode == 3
        assert f"process {driver.pid}" in second.stderr
    finally:
        driver.kill()
        driver.communicate()
    assert json.loads(command("status", "runs/slow", "--json").stdout)["state"].startswith("broken off")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["runn"], 2, "did you mean 'run'"),
        (["run", "chian.yaml"], 2, "did you mean 'chain.yaml'"),
        (["run", "chain.yaml", "--engine", "locl"], 2, "did you mean 'local'"),
        (["run", "chain.yaml", "--device", "cuda"], 2, "use --device auto"),
        (["run", "chain.yaml", "--only", "ad"], 2, "did you mean 'add'"),
        (["run", "chain.yaml", "--tiles", "x*"], 2, "no tile matches"),
        (["run", "chain.yaml", "-c", "ad.amount=1"], 2, "did you mean 'add'"),
        (["run", "chain.yaml", "-c", "add.amont=1"], 2, "did you mean 'amount'"),
        (["run", "chain.yaml", "-c", "nonsense"], 2, "STAGE.KEY=VALUE"),
        (["run", "chain.yaml", "-f", "no.yaml"], 2, "cannot read"),
        (["stages", "toy.ad"], 2, "did you mean 'toy.add'"),
        (["status", "."], 2, "no run directory"),
        (["explain", "chain.yaml", "add", "t9"], 2, "no task add/t9"),
    ],
)
def test_wrong_commands_say_what_to_try(command_here, chain, arguments, code, said):
    done = command_here(*arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (chain.parent / "runs").exists()


def test_overrides_and_overlays(command_here, chain, tmp_path):
    (tmp_path / "site.yaml").write_text("seed: 4\nstages: {add: {amount: 3}}\n")
    values = json.loads(
        command_here("validate", chain, "-f", "site.yaml", "-c", "add.mode=negative", "-c", "run.retries=0", "--resolved", "--json").stdout
    )
    assert values["stages"]["add"] == {"use": "toy.add", "in": {"number": "make.number"}, "amount": 3.0, "mode": "negative"}
    assert values["seed"] == 4
    assert values["run"]["retries"] == 0


def test_the_resolved_pipeline_is_a_pipeline(command_here, chain, tmp_path):
    text = command_here("validate", chain, "--resolved").stdout
    (tmp_path / "again.yaml").write_text(text)
    assert command_here("validate", "again.yaml", "--resolved").stdout == text


def test_a_folder_that_is_not_there_is_named_with_its_line(command_here, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "astrosurvey: 1\ntiles: [a]\nstages:\n  read: {use: io.spectra, path: '{tile}/spec-*.fits'}\n"
        "  scan: {use: spectra.redshift, in: read, templates: no-such-folder}\n"
    )
    done = command_here("validate", path)
    assert done.returncode == 2
    assert f"{path}:5:" in done.stderr
    assert f"stages.scan.templates: there is no file or folder {tmp_path / 'no-such-folder'}" in done.stderr
    (problem,) = json.loads(command_here("validate", path, "--json").stdout)["problems"]
    assert (problem["line"], problem["path"]) == (5, "stages.scan.templates")
    (tmp_path / "no-such-folder").mkdir()
    assert command_here("validate", path).returncode == 0  # what has placeholders is judged when its tile runs


def test_a_failed_task_can_be_reproduced_even_where_the_run_has_moved(command, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "astrosurvey: 1\ntiles: [a, b]\nstages:\n  make: {use: toy.make}\n  break: {use: toy.break, in: make, tiles: [b], how: data}\n"
    )
    assert command("run", path, "--out", "run", "--no-report").returncode == 1
    (tmp_path / "run").rename(tmp_path / "moved run")
    stub = tmp_path / "bin" / "astrosurvey"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from astrosurvey.cli import main; main()' \"$@\"\n")
    stub.chmod(0o755)
    environment = {**os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
    script = tmp_path / "moved run" / "failures" / "break" / "b" / "reproduce.sh"
    again = subprocess.run([script, "--no-report"], env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    assert "tile is rotten" in again.stdout


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("engine: local\nworkers: 0\n", "greater than or equal to 1"),
        ("engine: local\nworkers: two\n", "valid integer"),
        ("engine: local\nmemory_limit: lots\n", "must be like 4GiB"),
        ("engine: local\nworkres: 2\n", "did you mean 'workers'"),
        ("engine: inline\nworkers: 4\n", "use --engine local"),
        ("engine: slrum\n", "did you mean 'slurm'?"),
        ("engine: slurm\nmemory: 4GB\nwaltime: 02:00:00\n", "site.yaml:3:1 waltime: unknown setting; did you mean 'walltime'?"),
        ("workers: 2\n", "begin it with `engine: NAME`"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_wrong_site_file_is_one_line(command_here, chain, tmp_path, site, said):
    (tmp_path / "site.yaml").write_text(site)
    done = command_here("run", chain, "--engine", "site.yaml")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_site_file_chooses_the_engine(command_here, chain, tmp_path):
    (tmp_path / "site.yaml").write_text("engine: inline\n")
    assert command_here("run", chain, "--engine", "site.yaml", "--no-report").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-c", "stages=x"], "must be a mapping"),
        (["-c", "add.amount.0=1"], "amount"),
        (["-c", "tiles=*.fits"], "no file matches"),
        (["-c", "tiles.imag=x"], "tiles"),
    ],
)
def test_odd_overrides_are_told_of_and_are_no_bug(command_here, chain, arguments, said):
    done = command_here("plan", chain, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "bug" not in done.stderr


def test_a_run_directory_that_cannot_be_made_is_one_line(command_here, chain, tmp_path):
    (tmp_path / "file").write_text("")
    done = command_here("run", chain, "--out", "file/run")
    assert done.returncode == 2
    assert "Not a directory" in done.stderr
    assert "bug" not in done.stderr


def test_what_a_stage_prints_goes_to_the_log_and_not_into_the_json(command, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("astrosurvey: 1\nstages:\n  make: {use: toy.make}\n  break: {use: toy.break, in: make, tiles: [field], how: print}\n")
    done = command("run", path, "--out", "run", "--no-report", "--json")
    assert json.loads(done.stdout)["exit_code"] == 0
    assert "hello from a stage" in (tmp_path / "run" / "events.jsonl").read_text()


def test_an_exit_in_a_stage_is_a_failure_of_its_task(command, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "astrosurvey: 1\ntiles: [a, b]\nstages:\n  make: {use: toy.make}\n  break: {use: toy.break, in: make, tiles: [a], how: sysexit}\n"
    )
    done = command("run", path, "--out", "run", "--no-report")
    assert done.returncode == 1
    assert "the stage called exit(0)" in done.stdout
    assert (tmp_path / "run" / "products" / "break" / "b" / "task.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "no.yaml"], "cannot read"),
        (["plan", "chain.yaml", "-c", "add.amont=1"], "unknown setting"),
        (["stages", "toy.ad"], "there is no stage"),
        (["run", "chain.yaml", "--engine", "locl"], "there is no engine"),
    ],
)
def test_errors_are_json_too_where_json_was_asked_for(command_here, chain, arguments, said):
    done = command_here(*arguments, "--json")
    values = json.loads(done.stdout)
    assert values["exit_code"] == done.returncode == 2
    assert said in values["problems"][0]["message"]
