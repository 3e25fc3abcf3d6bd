"""The figures of the worked example in the docs are those of the benchmarks' results."""

from __future__ import annotations

from tools.worked_example import PAGE, refreshed, rows


def test_the_page_holds_what_was_measured():
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {first} | " in text for first in rows()), "a row is missing"
    assert refreshed(text) == text, "run tools/worked_example.py"
