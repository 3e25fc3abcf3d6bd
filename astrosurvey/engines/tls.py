"""A certificate for one run: without it nobody reaches the run's scheduler and workers, whoever else can log in to the cluster."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

FOLDER = "tls"
"""The folder of the run directory with the certificate and its key, which only their owner can read; gone when the driver ends."""

_PATIENCE = 60


def security_in(folder: Path) -> Any:
    """Return Dask's security with the certificate that is, or is going to be, in a folder: scheduler, workers and client have the same."""
    from distributed import Security

    files = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    roles = {f"tls_{role}_{what}": path for role in ("scheduler", "worker", "client") for what, path in files.items()}
    return Security(tls_ca_file=files["cert"], require_encryption=True, **roles)


def make(run: Path) -> Any:
    """Make a certificate in the run directory and return Dask's security with it; None where this host has no openssl."""
    folder = run / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of a driver that was killed
    folder.mkdir(mode=0o700)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    key, certificate = folder / "key.pem", folder / "cert.pem"
    os.close(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", "/CN=astrosurvey"]
    try:
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], capture_output=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logging.getLogger("astrosurvey").warning(
            "openssl makes no certificate here (%s), so whoever reaches the port of this run's scheduler can run code as you", error
        )
        return None
    return security_in(folder)
