import math

import pytest

from astrosurvey.core import yaml
from astrosurvey.core.problems import Mark, PipelineError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30:45", "12:30:45"),
        ("1e-3", 0.001),
        ("1_000", "1_000"),
        ("0o14", 12),
        ("014", 14),
        ("0x1F", 31),
        ("~", None),
        ("", None),
        ("true", True),
        ("True", True),
        ("'true'", "true"),
        ('"1"', "1"),
        ("5%", "5%"),
        ("2026-11-20", "2026-11-20"),
        ("-.5", -0.5),
        ("=", "="),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    found = yaml.load(f"key: {text}", "p.yaml").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_infinity_and_nan():
    assert yaml.scalar(".inf") == math.inf
    assert yaml.scalar("-.INF") == -math.inf
    assert math.isnan(yaml.scalar(".nan"))


def test_marks_are_lines_and_columns_of_keys_and_items():
    document = yaml.load("a: 1\nb:\n  c: [x, y]\n", "p.yaml")
    assert document.data == {"a": 1, "b": {"c": ["x", "y"]}}
    assert document.mark(("b", "c")) == Mark("p.yaml", 3, 3)
    assert document.mark(("b", "c", 1)) == Mark("p.yaml", 3, 10)
    assert document.mark(("b", "missing", "deep")) == Mark("p.yaml", 2, 1)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "given twice, first in line 1"),
        ("a: !!python/object:os.system x", 1, "tag"),
        ("a: !mine x", 1, "tag"),
        ("a: [1, 2", 1, "not YAML"),
        ("a:\n\tb: 1", 2, "not YAML"),
        ("", 1, "empty"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("%YAML 1.1\n---\na: no", 2, "YAML 1.2"),
        ("a: *b", 1, "no anchor"),
        ("? {a: b}\n: c", 1, "plain word"),
        ("a: " + "[" * 60 + "]" * 60, 1, "50 levels"),
        ("a: " + "[" * 20000, 1, "50 levels"),
        ("a: &x 1\nb: [" + "*x, " * 101 + "]", 2, "100 aliases"),
        ("x" * 1_000_001, 1, "1000 kB"),
        ("a: \x00", 1, "not YAML"),
    ],
)
def test_what_is_refused_is_refused_with_its_line(text, line, message):
    with pytest.raises(PipelineError) as caught:
        yaml.load(text, "p.yaml")
    (problem,) = caught.value.problems
    assert problem.mark.line == line
    assert message in problem.message
    assert problem.hint


def test_a_bomb_of_aliases_is_refused_before_it_explodes():
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)]
    with pytest.raises(PipelineError, match="aliases expand"):
        yaml.load("\n".join(rows), "p.yaml")


def test_aliases_are_copies():
    data = yaml.load("a: &x {k: [1]}\nb: *x", "p.yaml").data
    data["a"]["k"].append(2)
    assert data["b"] == {"k": [1]}


def test_merge_is_deep_and_keeps_the_overlays_marks():
    base = yaml.load("stages:\n  a: {use: x, n: 1}\nseed: 1\n", "base.yaml")
    base.merge(yaml.load("stages: {a: {n: 2, m: [1]}, b: {use: y}}\n", "site.yaml"))
    assert base.data == {"stages": {"a": {"use": "x", "n": 2, "m": [1]}, "b": {"use": "y"}}, "seed": 1}
    assert base.mark(("stages", "a", "n")).file == "site.yaml"
    assert base.mark(("stages", "a", "use")).file == "base.yaml"
