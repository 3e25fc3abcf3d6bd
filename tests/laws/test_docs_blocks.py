"""Law 9: what stands in the documentation's code blocks works: pipelines validate, Python runs, commands parse, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from astrosurvey import Stage, api, plugins
from astrosurvey.catalog import felis, schema
from astrosurvey.core import yaml
from astrosurvey.core.pipeline import Pipeline
from astrosurvey.core.stage import check_stage
from astrosurvey.stages.sbi.simulators.lightcone import LightCone
from astrosurvey.stages.sbi.simulators.stream import Stream
from tools import generate_docs, reference

ROOT = Path(__file__).parents[2]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
COMMANDS = dict(reference.commands())


def blocks(language):
    """Return (page, block) pairs; snippets from other files are those files' own affair."""
    found = []
    for name, path in PAGES.items():
        for block in re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
            if "--8<--" not in block:
                found.append((name, block))
    return found


def numbered(found):
    return [f"{name}-{index}" for index, (name, _) in enumerate(found)]


@pytest.fixture(scope="module")
def workshop():
    with generate_docs.workshop() as folder:
        yield folder


YAML = blocks("yaml")


@pytest.mark.parametrize(("name", "block"), YAML, ids=numbered(YAML))
def test_yaml_is_right(name, block, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSURVEY_DATA", "/data")
    values = yaml.load(block, name).data
    if "astrosurvey" in values:
        (tmp_path / "pipeline.yaml").write_text(block)
        assert api.load(tmp_path / "pipeline.yaml").nodes
        return
    if "engine" in values:
        (tmp_path / "site.yaml").write_text(block)
        assert callable(api.engine_factory(str(tmp_path / "site.yaml")))
        return
    if "tables" in values:
        (tmp_path / "tables.yaml").write_text(block)
        assert schema.extend(
            schema.core(), felis.read_fragment(tmp_path / "tables.yaml", values["name"], schema.core()), values["name"]
        ).tables
        return
    assert Pipeline.build({"astrosurvey": 1, "stages": completed(values)}, plugins.load()).nodes


SUPPORTING = {
    "image": {"use": "io.image", "path": "{tile}_{band}.fits", "bands": ["g", "r", "i", "z"], "unit": "adu", "zeropoint": 27.0},
    "sky": {"use": "background.mesh", "in": "image"},
    "sky2": {"use": "background.mesh", "in": "image"},
    "psf": {"use": "psf.measure", "in": ["sky", "deblend"]},
    "detect": {"use": "detection.matched", "in": "sky"},
    "net": {"use": "detection.unet", "in": "sky"},
    "deblend": {"use": "deblending.persistence", "in": ["sky", "detect"]},
    "share": {"use": "deblending.templates", "in": ["sky", "deblend"]},
    "kron": {"use": "photometry.kron", "in": ["sky", "deblend"]},
    "survey": {"use": "catalog.merge", "in": "kron"},
    "field": {"use": "simulate.field"},
    "compress": {"use": "sbi.moments", "in": "cones"},
    "observed": {"use": "io.observations", "path": "{tile}.npy"},
    "spectra": {"use": "io.spectra", "path": "{tile}.fits"},
    "classify": {"use": "spectra.classify", "in": "spectra"},
    "moments": {"use": "simulate.clusters", "snapshots": 12},
    "prior": {"use": "sbi.prior", "parameters": {"theta_1": {"uniform": [-1, 1]}, "theta_2": {"uniform": [-1, 1]}}},
    "moons": {"use": "simulate.two_moons", "in": "prior"},
    "infer": {"use": "sbi.npe", "in": "moons"},
    "sky_prior": {"use": "sbi.prior", "parameters": dict(LightCone.prior)},
    "cones": {"use": "simulate.lightcone", "in": "sky_prior"},
    "stream_prior": {"use": "sbi.prior", "parameters": dict(Stream.prior)},
    "fields": {"use": "simulate.stream", "in": "stream_prior"},
    "theirs": {"use": "clustering.hdbscan", "in": "survey", "columns": ["ra", "dec"]},
}
"""The stages that blocks which show a part of a pipeline take for granted, by the names that they use for them."""


def completed(part):
    """Return stages together with the supporting ones that they are wired to, and those that these are wired to."""
    stages = dict(part)
    waiting = list(part.values())
    while waiting:
        wires = waiting.pop().get("in", [])
        for wire in [wires] if isinstance(wires, str) else wires.values() if isinstance(wires, dict) else wires:
            name = wire.partition(".")[0]
            if name not in stages:
                stages[name] = SUPPORTING[name]
                waiting.append(SUPPORTING[name])
    return stages


DEFAULTS = [
    (path.name, stage, name, value)
    for path in sorted((ROOT / "docs/how-to").glob("*.md"))
    for stage, section in re.findall(r"^## `([a-z.]+)`\n(.*?)(?=^## |\Z)", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for name, value in re.findall(r"`([a-z_]+)`(?:\*\*)? \(default `([^`]+)`", section)
]


@pytest.mark.parametrize(("page", "stage", "name", "value"), DEFAULTS)
def test_defaults_in_the_prose_are_those_of_the_stages(page, stage, name, value):
    config = plugins.load().stages[stage].Config.model_construct()  # settings without a default stay unset
    assert config.model_dump(mode="json")[name] == yaml.load(f"x: {value}", page).data["x"]


def test_the_pages_of_detection_and_networks_are_complete():
    """What a reader looks for first: the defaults of the settings that are explained, and every built-in model with its stages."""
    told = {(stage, name) for _, stage, name, _ in DEFAULTS}
    assert told >= {("detection.matched", name) for name in ("threshold", "scales", "noise", "combine", "seed_threshold")}
    assert told >= {("detection.segment", name) for name in ("threshold", "min_pixels")}
    text = PAGES["docs/how-to/models.md"].read_text(encoding="utf-8")
    assert [name for name in [*plugins.load().models, "deblending.train", "detection.calibrate"] if f"`{name}`" not in text] == []


FRAGMENTS = {"docs/how-to/plugins.md"}
"""Pages whose Python is cut out of larger modules; `test_tutorials.py` sees to them."""

PYTHON = sorted({page for page, _ in blocks("python")} - FRAGMENTS)


@pytest.mark.parametrize("name", PYTHON)
def test_python_runs(name, workshop):
    """The blocks of a page run one after the other; stages they define pass the checks of registration."""
    assert Path.cwd() == workshop.resolve() or Path.cwd() == workshop
    namespace = {"__name__": "documentation"}
    with redirect_stdout(StringIO()):
        for page, block in blocks("python"):
            if page == name:
                exec(compile(block, name, "exec"), namespace)
    for value in list(namespace.values()):
        if isinstance(value, type) and issubclass(value, Stage) and value.__module__ == "documentation":
            check_stage(value)


def command_lines():
    """Return (page, line) of every command that the documentation tells people to type."""
    return [
        (name, line.removeprefix("$ "))
        for language in ("sh", "console")
        for name, block in blocks(language)
        for line in block.splitlines()
        if re.match(r"(\$ )?([A-Z_]+=\S+ )*astrosurvey ", line)
    ]


LINES = command_lines()


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{name}: {line}" for name, line in LINES])
def test_commands_exist_with_their_options(name, line):
    words = shlex.split(line, comments=True)
    words = words[words.index("astrosurvey") + 1 :]
    known = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    command = COMMANDS[known]
    options = {option: parameter for parameter in command.params for option in parameter.opts}
    for word in words[len(known.split()) :]:
        if word.startswith("-"):
            assert word in options, f"`astrosurvey {known}` has no option {word}"


def test_links_in_files_outside_docs_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
        assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_make_targets_in_the_prose_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "".join(path.read_text(encoding="utf-8") for path in [*PAGES.values(), ROOT / "CONTRIBUTING.md"])
    typed = "".join(block for _, block in blocks("sh"))
    named = {*re.findall(r"(?:`|    )make ([a-z]+)\b", text), *re.findall(r"^make ([a-z]+)\b", typed, flags=re.MULTILINE)}
    assert named >= {"demo", "test", "lint", "docs", "generate"}
    assert [target for target in named if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_no_page_claims_a_speed_or_a_size():
    """Such numbers age; they are made by benchmarks/ when somebody wants them. Decisions and tables may name limits."""
    claims = re.compile(r"\b\d[\d.,]*\s?(ms|s|sec|seconds|minutes|MB|GB|kB|MiB|GiB|tasks/s|times faster)\b")
    for name, path in PAGES.items():
        if "/adr/" in name or "/reference/" in name:
            continue
        prose = re.sub(r"```.*?```|`[^`]*`|^\|.*?$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert claims.search(prose) is None, f"{name}: {claims.search(prose)[0]}"


def test_the_workshop_is_left_as_it_was_found(workshop):
    assert sorted(os.listdir(workshop))[:3] == ["examples", "runs", "wrong.yaml"]
