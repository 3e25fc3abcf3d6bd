"""A headless Chromium: loads a page, runs its script, and tells what came of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Loaded:
    """A page after its script has run.

    Attributes:
        dom: the document as it stands then.
        console: what was written to the console, errors included.
    """

    dom: str
    console: list[str]

    @property
    def root(self) -> str:
        """The document's opening tag, with what the script said of itself."""
        return re.search(r"<html[^>]*>", self.dom)[0]


def binary() -> str:
    """Return the browser, or skip the test; where ASTROSURVEY_REQUIRE_BROWSER is set, fail it."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("ASTROSURVEY_REQUIRE_BROWSER"):
            pytest.fail(f"none of {', '.join(NAMES)} is installed, and ASTROSURVEY_REQUIRE_BROWSER asks for one")
        pytest.skip("no Chromium is installed")
    return found


def _run(url: str, *options: str, size: tuple[int, int]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="astrosurvey-browser-") as profile:
        command = [
            binary(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
            "--hide-scrollbars", f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--enable-logging=stderr",
            "--virtual-time-budget=10000", *options, url,
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def load(path: Path, fragment: str = "", *, size: tuple[int, int] = (1200, 900)) -> Loaded:
    """Return a page after its script has run."""
    done = _run(path.resolve().as_uri() + fragment, "--dump-dom", size=size)
    assert "<html" in done.stdout, done.stderr
    return Loaded(done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line])


def screenshot(path: Path, to: Path, fragment: str = "", *, size: tuple[int, int] = (1200, 900), dark: bool = False) -> Path:
    """Write a picture of a page."""
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = _run(path.resolve().as_uri() + fragment, f"--screenshot={to}", scheme, size=size)
    assert to.is_file(), done.stderr
    return to
