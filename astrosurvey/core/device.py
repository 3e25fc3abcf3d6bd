"""Which device a run uses, decided once and without importing torch."""

from __future__ import annotations

import ctypes


class NoDevice(Exception):
    """A device was asked for that is not there."""


def cuda_devices() -> tuple[int, str]:
    """Return the number of CUDA devices this process may use, and why there are none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, "no CUDA driver"
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0, "the CUDA driver does not answer"
    return count.value, "" if count.value else "no CUDA device is visible"


def decide(wish: str) -> tuple[str, str, int]:
    """Return the device for a wish of "auto", "cpu" or "cuda", the reason in words, and the number of GPUs.

    Raises:
        NoDevice: "cuda" was asked for and there is no GPU, or the wish is none of the three.
    """
    if wish not in ("auto", "cpu", "cuda"):
        raise NoDevice(f"there is no device {wish!r}; use auto, cpu or cuda")
    if wish == "cpu":
        return "cpu", "as asked for", 0
    count, why_not = cuda_devices()
    if count:
        return "cuda", f"{count} CUDA device{'s' * (count > 1)}", count
    if wish == "cuda":
        raise NoDevice(f"device cuda was asked for, but there is {why_not}; use --device auto")
    return "cpu", why_not, 0
