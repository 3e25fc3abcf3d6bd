"""Law 11: malformed FITS ends in one clear error or a noted repair; never a crash, a hang or a silent wrong value."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fits_corpus.cases import CASES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """What came of each case, and how many connections a listener on this machine saw meanwhile."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    peer, address = server.accept()
                except OSError:
                    return
                connections.append(address)
                peer.close()

        threading.Thread(target=listen, daemon=True).start()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass  # the listener does hear
        argv = [sys.executable, "-m", "tests.fits_corpus.child", str(tmp_path_factory.mktemp("corpus")), str(port)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=200, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, check=False
        )
    results = {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    return results, len(connections) - 1, done


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace("\n", " ").replace("\0", " "))
def test_case(case, corpus):
    results, _, done = corpus
    assert case.name in results, f"the process ended with {done.returncode} before this case:\n{done.stderr[-2000:]}"
    result = results[case.name]
    assert result["outcome"] == ("refused" if case.refuse else "read"), result
    assert result["seconds"] < 5
    assert result["megabytes"] < 700
    assert result["appeared"] == []
    if case.refuse:
        message = result["message"]
        assert re.search(case.refuse, message), message
        assert "\n" not in message
        assert "root:x:" not in message  # nothing of /etc/passwd
        return
    assert result["right"], result
    assert result["flagged"], result
    assert result["printable"], result
    assert result["wcs"] == case.wcs, result
    if case.repair:
        assert any(re.search(case.repair, note) for note in result["repairs"]), result["repairs"]
    else:
        assert result["repairs"] == []


def test_the_process_ended_in_order(corpus):
    assert corpus[2].returncode == 0
    assert corpus[2].stderr == ""


def test_no_connection_was_opened(corpus):
    assert corpus[1] == 0


def test_names_are_unique_and_many():
    assert len({case.name for case in CASES}) == len(CASES) >= 80
