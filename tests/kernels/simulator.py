"""Blocks of numba's simulator of a GPU that end sooner: as its own, but for the waiting.

Numba's starts a thread of Python for each of CUDA, and asks each of them over and over whether it has come to
the barrier. Here one thread of Python runs those of CUDA one after the other, and where one of them waits at a
barrier, a further thread goes on with the next. What the kernels see is the same.
"""

from __future__ import annotations

import threading

import numpy as np
from numba.cuda.simulator import kernel


class Thread(kernel.BlockThread):
    """A thread of Python, which is one thread of CUDA after the other."""

    def __init__(self, block, grid_point):
        super().__init__(None, block, grid_point, (0, 0, 0), False)
        self.block = block

    def run(self):
        """Run the threads of CUDA that nobody has begun."""
        while (index := self.block.next()) is not None:
            self.threadIdx = kernel.Dim3(*index)
            self.thread_id = int(np.ravel_multi_index(index, self.block.shape, order="F"))
            try:
                self.block.function(*self.block.arguments)
            except Exception as error:
                error.add_note(f"in thread {index} of block {tuple(self.blockIdx)}")
                self.block.fail(error)
            else:
                self.block.leave()

    def syncthreads(self):
        """Wait for the others."""
        self.block.arrive()


class Block(kernel.BlockManager):
    """A block of threads, with the barrier that they meet at."""

    def __init__(self, function, grid, shape, debug):
        super().__init__(function, grid, shape, debug)
        self.function, self.shape = function, shape
        self.changed = threading.Condition(threading.Lock())
        self.to_do = list(np.ndindex(*shape))[::-1]
        self.live = len(self.to_do)
        self.waiting = self.meetings = 0
        self.error = None

    def run(self, grid_point, *arguments):
        """Run every thread; raise what the first one raised that failed."""
        self.arguments, self.grid_point = arguments, grid_point
        with self.changed:
            self._go_on()
            self.changed.wait_for(lambda: self.error or not self.live)
        if self.error:
            raise self.error

    def next(self):
        """Return the index of a thread that has not begun; None when all have, or one failed."""
        with self.changed:
            return self.to_do.pop() if self.to_do and not self.error else None

    def arrive(self):
        """Wait until every thread that lives is here, too."""
        with self.changed:
            self.waiting += 1
            meeting = self.meetings
            self._meet()
            if self.to_do:
                self._go_on()
            self.changed.wait_for(lambda: self.error or meeting < self.meetings)
        if self.error:
            raise RuntimeError("another thread failed")

    def leave(self):
        """Note that a thread has ended: the others no longer wait for it."""
        with self.changed:
            self.live -= 1
            self._meet()

    def fail(self, error):
        """Note that a thread failed, and with it the block."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def _go_on(self):
        Thread(self, self.grid_point).start()

    def _meet(self):
        if self.waiting == self.live:
            self.waiting = 0
            self.meetings += 1
            self.changed.notify_all()
