"""The child process in which an element's tasks run, one after the other; its supervisor may end it at any time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from ...core.task import execute
from ..exits import ending_after


def serve(descriptor: int) -> None:
    """Run the orders that come in until there are no more; send back progress, notes and outcomes."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # these are for the supervisor, which decides
    _die_with_parent()
    from ...plugins import load

    load()
    connection = Connection(descriptor)
    sending = threading.Lock()
    last = 0.0

    def send(kind: str, value: object) -> None:
        with sending:
            connection.send((kind, value))

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.25:
            last = time.monotonic()
            send("progress", (done, total))

    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        with ending_after(order.time_limit):
            outcome = execute(order, progress, lambda text: send("note", text))
        send("outcome", outcome)


def _die_with_parent() -> None:
    """Have the kernel end this process when its supervisor is gone, however that went."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of Linux
    if os.getppid() == 1:
        sys.exit()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
