"""Site files: what they ask for, and every mistake in them with its place and a suggestion."""

import json
from pathlib import Path

import jsonschema
import pytest

from astrosurvey import PipelineError
from astrosurvey.core import yaml
from astrosurvey.engines.site import BatchSite, in_bytes, in_seconds, read_site, schema

ROOT = Path(__file__).parents[2]

SOUND = """\
engine: slurm
queue: main
memory: 4GB
walltime: 02:00:00
workers: {minimum: 0, maximum: 8}
memory_max: 64GB
resources:
  detection.unet: {gpus: 1, queue: gpu, cores: 4, memory: 16GB, maximum: 2}
  deblending.*: {gpus: 1, queue: gpu, cores: 4, memory: 16GB, maximum: 2, time_limit: 600}
  catalog.*: {memory: 32GiB, walltime: 1-00:00:00}
setup: [module load python]
time_limit: 3600
"""

# (what is wrong, the sound text, the wrong text, line, key, what the message and the suggestion say)
CASES = [
    ("a misspelt setting", "walltime", "waltime", 4, "waltime", "unknown setting", "did you mean 'walltime'?"),
    ("Slurm's word for a queue", "queue: main", "partition: main", 2, "partition", "unknown setting", "did you mean 'queue'?"),
    ("a number alone for memory", "memory: 4GB", "memory: 4", 3, "memory", "must be a valid string, not 4", "such as 4GB"),
    ("memory in words", "memory: 4GB", "memory: 4 gigs", 3, "memory", "must be an amount such as 16GB or 500MiB", "such as 4GB"),
    ("no memory", "memory: 4GB\n", "", 1, "memory", "this setting is required", "give memory: memory of a job"),
    ("no walltime", "walltime: 02:00:00\n", "", 1, "walltime", "this setting is required", "give walltime"),
    ("hours in words", "02:00:00", "2h", 4, "walltime", "must be a time such as 02:00:00 or 1-12:00:00", "how long a job may last"),
    ("minutes for hours", "02:00:00", "00:00:30", 4, "walltime", "less than two minutes", "hours:minutes:seconds"),
    ("workers as a number", "{minimum: 0, maximum: 8}", "8", 5, "workers", "must be an object, not 8", "how many workers"),
    ("no workers at all", "maximum: 8", "maximum: 0", 5, "workers.maximum", "greater than or equal to 1", "at most"),
    ("a misspelt bound", "maximum: 8", "max: 8", 5, "workers.max", "unknown setting", "did you mean 'maximum'?"),
    ("a minimum above the maximum", "minimum: 0, maximum: 8", "minimum: 9, maximum: 8", 5, "workers.minimum", "more than the maximum, 8", "raise the maximum"),
    ("two GPUs for one worker", "unet: {gpus: 1", "unet: {gpus: 2", 8, "resources.detection.unet.gpus", "less than or equal to 1", "more workers use more"),
    ("Slurm's word for GPUs", "unet: {gpus: 1", "unet: {gres: 1", 8, "resources.detection.unet.gres", "unknown setting", "did you mean 'gpus'?"),
    ("cores in words", "cores: 4", "cores: four", 8, "resources.detection.unet.cores", "valid integer", "threads of the compiled loops"),
    ("a family that is no mapping", "{memory: 32GiB, walltime: 1-00:00:00}", "big", 10, "resources.catalog.*", "must be an object", "the first that fits"),
    ("more memory than there may be", "32GiB", "128GiB", 10, "resources.catalog.*.memory", "more than memory_max, 64GB", "raise memory_max"),
    ("set-up as one line", "[module load python]", "module load python", 11, "setup", "must be a valid list", "shell lines"),
    ("set-up with a line break", "[module load python]", '["a\\nb"]', 11, "setup.0", "must be one line of text", "shell lines"),
    ("a time limit of nothing", "time_limit: 3600", "time_limit: 0", 12, "time_limit", "greater than 0", "seconds that a task may take"),
    ("interface and host", "time_limit: 3600", "interface: ib0\nhost: login1", 13, "host", "both given", "keep one"),
    ("a GPU directive without a number", "time_limit: 3600", "gpu_directive: --gpus=1", 12, "gpu_directive", "where the number goes", "{gpus}"),
    ("a queue for HTCondor", "engine: slurm", "engine: htcondor", 2, "queue", "HTCondor has no queues", "directives"),
    ("a macro of HTCondor", SOUND, 'engine: htcondor\nmemory: 4GB\nwalltime: 02:00:00\nsetup: ["X=$(nproc)"]\n', 4, "setup.0", "a macro", "instead"),
    ("a misspelt engine", "engine: slurm", "engine: slrum", 1, "engine", "no engine 'slrum'", "did you mean 'slurm'?"),
    ("no engine", "engine: slurm", "system: slurm", 1, "engine", "says which engine", "`engine: NAME`"),
    ("an engine that is a number", "engine: slurm", "engine: 1", 1, "engine", "says which engine", "`engine: NAME`"),
    ("a key given twice", "memory: 4GB", "memory: 4GB\nmemory: 5GB", 4, "memory", "given twice, first in line 3", "delete one"),
    ("a scheduler without an address", SOUND, "engine: address\n", 1, "engine", "one of address and scheduler_file", "tcp://HOST:PORT"),
    ("two addresses", SOUND, "engine: address\naddress: tcp://a:1\nscheduler_file: s.json\n", 1, "engine", "one of address", "PATH"),
    ("workers of somebody else's scheduler", SOUND, "engine: address\naddress: tcp://a:1\nworkers: 4\n", 3, "workers", "unknown setting", "address"),
]  # fmt: skip


def site_of(text, tmp_path):
    (tmp_path / "site.yaml").write_text(text)
    return read_site(tmp_path / "site.yaml")


@pytest.mark.parametrize(("old", "new", "line", "key", "message", "hint"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_mistake_has_a_place_and_a_suggestion(tmp_path, old, new, line, key, message, hint):
    assert old in SOUND
    with pytest.raises(PipelineError) as caught:
        site_of(SOUND.replace(old, new, 1), tmp_path)
    assert any(p.mark.line == line and p.path == key and message in p.message and hint in p.hint for p in caught.value.problems), str(
        caught.value
    )


def test_all_mistakes_come_at_once(tmp_path):
    with pytest.raises(PipelineError) as caught:
        site_of(SOUND.replace("queue: main", "partition: main").replace("cores: 4", "cores: four").replace("4GB", "4"), tmp_path)
    assert len(caught.value.problems) == 5


def test_the_first_pattern_that_fits_counts(tmp_path):
    site = site_of(SOUND + "cores: 2\n", tmp_path)
    merge, unet, sky = (site.resources_for(use) for use in ("catalog.merge", "detection.unet", "background.mesh"))
    assert (merge.memory, merge.walltime, merge.cores, merge.queue) == (32 * 2**30, 86400, 2, "main")
    assert (unet.gpus, unet.queue, unet.maximum) == (1, "gpu", 2)
    assert (sky.gpus, sky.memory, sky.walltime, sky.maximum) == (0, 4 * 10**9, 7200, 8)
    assert [site.time_limit_of(use) for use in ("deblending.unet", "catalog.merge")] == [600, 3600]


def test_equal_resources_are_of_one_kind(tmp_path):
    site = site_of(SOUND, tmp_path)
    assert site.resources_for("deblending.unet") == site.resources_for("detection.unet")
    assert list(site.kinds()) == ["detection.unet", "catalog", "default"]


def test_kinds_of_like_patterns_have_names_of_their_own():
    values = {"engine": "slurm", "memory": "1GB", "walltime": "01:00:00", "resources": {"a.*": {"cores": 2}, "a*": {"cores": 3}}}
    assert len(BatchSite.model_validate(values).kinds()) == 3


def test_more_memory_stops_at_the_most_there_is(tmp_path):
    small = site_of(SOUND, tmp_path).resources_for("io.image")
    assert small.with_memory(2, None).memory == 8 * 10**9
    assert small.with_memory(4, 10**10).memory == 10**10
    assert small.with_memory(2, 10**9).memory == small.memory


@pytest.mark.parametrize(("text", "number"), [("500B", 500), ("1.5kB", 1500), ("2MiB", 2 * 2**20), ("4 GB", 4 * 10**9), ("1TiB", 2**40)])
def test_amounts(text, number):
    assert in_bytes(text) == number


@pytest.mark.parametrize(("text", "number"), [("00:01:00", 60), ("100:00:00", 360000), ("2-01:00:10", 176410)])
def test_times(text, number):
    assert in_seconds(text) == number


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path):
    with pytest.raises(PipelineError, match="cannot read the site file: No such file"):
        read_site(tmp_path / "none.yaml")


def test_the_json_schema_accepts_what_is_right_and_refuses_what_is_wrong():
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    validator = jsonschema.Draft202012Validator(made)
    assert list(validator.iter_errors(yaml.load(SOUND, "site.yaml").data)) == []
    assert list(validator.iter_errors({"engine": "address", "address": "tcp://login1:8786"})) == []
    assert list(validator.iter_errors({"engine": "slurm", "memory": "4", "walltime": "02:00:00"}))
    assert list(validator.iter_errors({"engine": "slurm", "memory": "4GB", "walltime": "02:00:00", "partition": "main"}))


def test_the_committed_schema_is_fresh():
    assert json.loads((ROOT / "schemas" / "site.v1.json").read_text()) == schema(), "run `make generate`"
