import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from astrosurvey.core import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made():
    """The schema of the built-in stages alone, as `astrosurvey stages --schema` prints it."""
    code = "from astrosurvey.cli import cli; cli.main(['stages', '--schema'])"
    environment = {"ASTROSURVEY_PLUGINS": "", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout


def test_the_committed_schema_is_fresh(made):
    assert (ROOT / "schemas" / "pipeline.v1.json").read_text() == made, "run `make generate`"


def test_it_is_a_json_schema(made):
    jsonschema.Draft202012Validator.check_schema(json.loads(made))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_it_accepts_the_examples(made, example):
    data = yaml.load(example.read_text(), example.name).data
    assert list(jsonschema.Draft202012Validator(json.loads(made)).iter_errors(data)) == []


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"use": "background.mesh", "in": "a", "bxo": 3}, "'bxo' was unexpected"),
        ({"use": "background.mesh", "in": "a", "box": "x"}, "is not of type 'integer'"),
        ({"use": "background.mesh", "in": {"picture": "a"}}, "picture"),
        ({"use": "background.mush"}, "is not one of"),
        ({"in": "a"}, "'use' is a required property"),
        ({"use": "io.image", "path": "a.fits"}, "'bands' is a required property"),
        ({"use": "io.image", "bands": ["r"], "mask": {"pth": "a"}}, "pth"),
    ],
)
def test_it_refuses_what_an_editor_should_underline(made, stage, message):
    errors = jsonschema.Draft202012Validator(json.loads(made)).iter_errors({"astrosurvey": 1, "stages": {"x": stage}})
    assert any(message in json.dumps(str(e)) or message in str(e) for e in errors)
