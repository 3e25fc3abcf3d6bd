"""Make the generated part of the documentation: `python tools/generate_docs.py [--check]`.

Pages under docs/reference are written whole (`reference.py`); in hand-written pages, what stands in a
```console block behind its `$ astrosurvey …` lines is what those commands print; schemas/site.v1.json is
made here, too. The results are committed, and a test fails when they are stale (`tests/laws/test_docs.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SMALL = ["-c", "tiles.count=2", "-c", "tiles.size=256"]
"""What makes examples/demo.yaml run in seconds."""


@contextlib.contextmanager
def workshop() -> Iterator[Path]:
    """Make a folder with examples/ and the run of a small demo in runs/demo, and go there; the docs' commands run in it."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "examples").symlink_to(ROOT / "examples")
        (Path(folder) / "wrong.yaml").symlink_to(DOCS / "concepts" / "wrong.yaml")
        os.chdir(folder)
        try:
            run_command(f"astrosurvey run examples/demo.yaml {' '.join(SMALL)} --no-report")
            yield Path(folder)
        finally:
            os.chdir(here)


def run_command(line: str) -> str:
    """Return what a command line prints; the variables before the command are set for it."""
    from click.testing import CliRunner

    from astrosurvey.cli import cli

    words = shlex.split(line)
    settings = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    assert words[0] == "astrosurvey", line
    result = CliRunner().invoke(cli, words[1:], env={"COLUMNS": "100", "NO_COLOR": "1", **settings})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        kind = type(result.exception).__name__
        if kind != "PipelineError":
            raise result.exception
        return "".join(f"error: {problem}\n" for problem in result.exception.problems)  # type: ignore[attr-defined]
    return result.output


def refreshed(text: str) -> str:
    """Return a page with the console blocks' outputs made again; to be called in the workshop."""
    return re.sub(r"```console\n(.*?)```", lambda block: f"```console\n{_played(block[1])}```", text, flags=re.DOTALL)


def _played(block: str) -> str:
    lines = [line for line in block.splitlines() if line.startswith("$ ")]
    if not lines:
        raise ValueError(f"a console block holds no `$ astrosurvey …` line; commands without output go into a block of sh:\n{block}")
    return "\n".join(f"{line}\n{run_command(line[2:]).rstrip()}\n" for line in lines)


def stale() -> dict[Path, str]:
    """Return every page whose text is not what it should be, with that text."""
    from astrosurvey.engines import site
    from tools.reference import pages

    wanted = {DOCS / name: text.rstrip("\n") + "\n" for name, text in pages().items()}
    wanted[ROOT / "schemas" / "site.v1.json"] = json.dumps(site.schema(), indent=2, ensure_ascii=False) + "\n"
    with workshop():
        for page in [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]:
            if page not in wanted and "```console" in page.read_text(encoding="utf-8"):
                wanted[page] = refreshed(page.read_text(encoding="utf-8"))
    return {page: text for page, text in wanted.items() if not page.is_file() or page.read_text(encoding="utf-8") != text}


def main() -> int:
    """Write every generated page and say which have changed; with `--check`, only say which are stale, and fail if any is."""
    check = "--check" in sys.argv[1:]
    found = stale()
    for page, text in found.items():
        if not check:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT))
    return int(check and bool(found))


if __name__ == "__main__":
    os.environ["ASTROSURVEY_PLUGINS"] = ""
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
