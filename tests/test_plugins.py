"""Finding and loading plugins: what works, and what is said about those that do not."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import textwrap
from importlib.metadata import distributions
from pathlib import Path

import pytest

from astrosurvey import PipelineError, plugins
from astrosurvey.core.pipeline import Pipeline

STAGE = """
    from astrosurvey import Field, Stage, StageConfig, hookimpl
    from toy import Number

    astrosurvey_api = 1

    class Double(Stage):
        \"\"\"Double a number.\"\"\"

        name = "{name}"
        inputs = {{"number": Number}}
        outputs = {{"number": Number}}

        def run(self, ctx, *, number):
            return {{"number": Number(2 * number.value)}}

    @hookimpl
    def register_stages(register):
        register(Double)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a plugin of one module; returns the folder it is in."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    names = []

    def write(name, source, version="2.1"):
        names.append(name)
        info = site / f"{name}_dist-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[astrosurvey]\n{name} = {name}_module\n")
        (site / f"{name}_module.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return site

    yield write
    for name in names:
        sys.modules.pop(f"{name}_module", None)


@pytest.fixture
def found(tmp_path):
    """A function that loads the plugins in the folder."""

    def load(*first):
        entries = [entry for dist in distributions(path=[str(tmp_path / "site")]) for entry in dist.entry_points]
        return plugins.load_from([*first, *sorted(entries, key=lambda e: e.name)])

    return load


def test_a_plugin_registers_with_its_name_package_and_version(install, found):
    install("double", STAGE.format(name="double.it"))
    registry = found()
    assert list(registry.stages) == ["double.it"]
    assert str(registry.origins["stages", "double.it"]) == "double-dist 2.1"
    assert [origin.plugin for origin in registry.plugins] == ["double"]
    assert registry.broken == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("", "TypeError: the module sets no `astrosurvey_api`; write `astrosurvey_api = 1` at its top"),
        ("astrosurvey_api = '1'", "the module sets no `astrosurvey_api`"),
        ("astrosurvey_api = 2", "written for plugin API 2, this astrosurvey has 1 to 1; upgrade astrosurvey"),
        ("astrosurvey_api = 0", "written for plugin API 0, this astrosurvey has 1 to 1; upgrade the plugin"),
        (
            "import astrosurvey\nastrosurvey_api = 1\n@astrosurvey.hookimpl\ndef register_stage(register): pass",
            "register_stage.*the hooks are register_stages, register_products",
        ),
        (
            "import astrosurvey\nastrosurvey_api = 1\n@astrosurvey.hookimpl\ndef register_stages(registry): pass",
            "register_stages",
        ),
        (
            "import astrosurvey\nastrosurvey_api = 1\n@astrosurvey.hookimpl\ndef register_stages(register): register(dict)",
            "is not a subclass of astrosurvey.Stage",
        ),
        (STAGE.format(name="Double"), "`name` must be like 'family.method' in lower case, not 'Double'"),
        (STAGE.format(name="double.it") + "\n        register(Double)", "is registered by both double-dist 2.1 and double-dist 2.1"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_listed_with_its_error(install, found, source, complaint):
    install("double", source)
    registry = found()
    assert registry.stages == {}
    assert registry.plugins == []
    (broken,) = registry.broken
    assert str(broken).startswith("plugin 'double' of double-dist 2.1 could not be loaded: ")
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(broken.error)
    assert "Traceback" in broken.traceback


def test_two_packages_with_one_stage_name_are_both_named(install, found):
    install("double", STAGE.format(name="double.it"), version="1.0")
    install("twice", STAGE.format(name="double.it"), version="3.4")
    registry = found()
    assert registry.origins["stages", "double.it"].plugin == "double"
    (broken,) = registry.broken
    assert broken.error == "ValueError: stages: 'double.it' is registered by both double-dist 1.0 and twice-dist 3.4; uninstall one of them"


def test_nothing_is_kept_of_a_plugin_that_fails_half_way(install, found):
    install("double", STAGE.format(name="double.it") + "\n        raise RuntimeError('half way')")
    registry = found()
    assert registry.stages == {}
    assert registry.origins == {}
    assert "half way" in registry.broken[0].error


def test_a_broken_plugin_is_fatal_only_to_a_pipeline_that_uses_its_stages(install, found):
    install("broken", "import nothing_of_this_name")
    install("double", STAGE.format(name="double.it"))
    install("toys", "from toy import *\nfrom toy import astrosurvey_api, register_products, register_stages")
    registry = found()
    Pipeline.build({"astrosurvey": 1, "stages": {"make": {"use": "toy.make"}, "twice": {"use": "double.it", "in": "make"}}}, registry)
    with pytest.raises(PipelineError, match=r"there is no stage 'broken.it'.*plugin 'broken' of broken-dist 2.1 could not be loaded"):
        Pipeline.build({"astrosurvey": 1, "stages": {"make": {"use": "toy.make"}, "bad": {"use": "broken.it", "in": "make"}}}, registry)


LOOKER = """
    import json, os
    import click
    from astrosurvey import hookimpl
    from astrosurvey.core.engine import InlineEngine

    astrosurvey_api = 1

    @hookimpl
    def on_event(event):
        with open("events.txt", "a") as stream:
            stream.write(f"{event.kind} {os.getpid()}\\n")

    @hookimpl
    def report_sections(run, summary):
        return [("Looker", f"<p>{summary['title']}</p>")]

    class Counting(InlineEngine):
        def __init__(self, settings):
            super().__init__()
            with open("engine.txt", "w") as stream:
                stream.write(json.dumps(settings))

    @hookimpl
    def register_engines(register):
        register("counting", Counting)

    @click.command()
    @click.argument("name")
    def greet(name):
        \"\"\"Greet somebody.\"\"\"
        click.echo(f"hello {name}")

    @hookimpl
    def register_commands(register):
        register(greet)
"""

PIPELINE = "astrosurvey: 1\ntiles: {count: 2}\nstages:\n  make: {use: toy.make}\n"


@pytest.fixture
def with_plugins(command, tmp_path):
    """The command line with the toy plugin and what is installed in the folder."""
    root = Path(__file__).parents[1]
    path = os.pathsep.join(map(str, [root, root / "tests" / "toyplugin", tmp_path / "site"]))
    return lambda *arguments, **env: command(*arguments, env={"PYTHONPATH": path, **env})


def test_a_run_goes_through_a_plugins_engine_and_is_seen_by_it(install, with_plugins, tmp_path):
    install("looker", LOOKER)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    done = with_plugins("run", "p.yaml", "--engine", "counting", "--no-report")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "engine.txt").read_text()) == {"workers": 1, "gpus": 0}
    kinds = [line.split()[0] for line in (tmp_path / "events.txt").read_text().splitlines()]
    task = ["task_started", "task_progress", "task_finished"]
    assert kinds == ["run_started", *task, *task, "run_finished"]


def test_events_are_seen_in_the_coordinator_alone(install, with_plugins, tmp_path):
    install("looker", LOOKER)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    done = with_plugins("run", "p.yaml", "--workers", 2, "--no-report")
    assert done.returncode == 0, done.stderr
    assert len({line.split()[1] for line in (tmp_path / "events.txt").read_text().splitlines()}) == 1


def test_a_plugin_adds_to_the_report(install, with_plugins, tmp_path):
    install("looker", LOOKER)
    (tmp_path / "p.yaml").write_text(PIPELINE + "title: Two numbers\n")
    done = with_plugins("run", "p.yaml")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "runs" / "p" / "report" / "index.html").read_text()
    assert "Looker" in page
    assert "&lt;p&gt;Two numbers&lt;/p&gt;" in page


def test_a_site_file_gives_a_plugins_engine_its_settings(install, with_plugins, tmp_path):
    install("looker", LOOKER)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "site.yaml").write_text("engine: counting\nqueue: long\n")
    assert with_plugins("run", "p.yaml", "--engine", "site.yaml", "--no-report").returncode == 0
    assert json.loads((tmp_path / "engine.txt").read_text()) == {"queue": "long"}


def test_an_unknown_engine_is_an_error_with_a_suggestion(install, with_plugins, tmp_path):
    install("looker", LOOKER)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    done = with_plugins("run", "p.yaml", "--engine", "countin", "--no-report")
    assert done.returncode == 2
    assert "there is no engine 'countin'; did you mean 'counting'?" in done.stderr


def test_a_plugin_adds_a_command(install, with_plugins):
    install("looker", LOOKER)
    assert with_plugins("greet", "you").stdout == "hello you\n"
    listed = {row["plugin"]: row for row in json.loads(with_plugins("plugins", "--json").stdout)}
    assert listed["looker"]["registers"] == {"engines": ["counting"], "commands": ["greet"]}


def test_a_broken_plugin_is_a_warning(install, with_plugins, tmp_path):
    install("broken", "import nothing_of_this_name")
    (tmp_path / "p.yaml").write_text(PIPELINE)
    done = with_plugins("run", "p.yaml", "--no-report")
    assert done.returncode == 0
    assert "warning: plugin 'broken' of broken-dist 2.1 could not be loaded: ModuleNotFoundError" in done.stderr
    listed = with_plugins("plugins")
    assert "broken  broken-dist 2.1  BROKEN" in listed.stdout
    assert "nothing_of_this_name" in listed.stdout
    recorded = json.loads((tmp_path / "runs" / "p" / "run.json").read_text())["broken_plugins"]
    assert [line for line in recorded if line.startswith("plugin 'broken' of broken-dist 2.1")]


def test_a_variable_says_which_plugins_are_loaded(install, with_plugins):
    install("double", STAGE.format(name="double.it"))
    install("broken", "import nothing_of_this_name")

    def names(value):
        return [row["plugin"] for row in json.loads(with_plugins("plugins", "--json", ASTROSURVEY_PLUGINS=value).stdout)]

    assert set(names("toy, double")) == {"builtin", "toy", "double"}
    assert set(names("")) == {"builtin"}


def test_a_plugin_that_fails_in_a_hook_is_warned_of_once(install, found, monkeypatch, caplog, tmp_path):
    source = """
        from astrosurvey import hookimpl
        astrosurvey_api = 1
        @hookimpl
        def on_event(event):
            raise KeyError(event)
        @hookimpl
        def report_sections(run):
            return [("still", "there")]
    """
    install("clumsy", source)
    install("looker", LOOKER)
    registry = found()
    assert not registry.broken
    monkeypatch.setattr(plugins, "load", lambda: registry)
    monkeypatch.setattr(plugins, "_silenced", set())
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        for kind in ("a", "b"):
            plugins.tell_plugins(type("Event", (), {"kind": kind})())
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("plugin 'clumsy' of clumsy-dist 2.1 failed in on_event and is not asked again: KeyError")
    assert [line.split()[0] for line in Path("events.txt").read_text().splitlines()] == ["a", "b"]
    sections = plugins.hook_results("report_sections", run=Path("."), summary={"title": "A survey"})
    assert sections == [[("still", "there")], [("Looker", "<p>A survey</p>")]]


def test_the_built_in_plugin_comes_in_through_the_same_hooks():
    registry = plugins.load()
    assert not [broken for broken in registry.broken if broken.origin.plugin == "builtin"]
    assert {origin.plugin for (hook, _), origin in registry.origins.items() if hook == "products"} >= {"builtin"}
