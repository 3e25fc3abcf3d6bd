"""Workers of this machine, and their settings in a site file."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .dask import DaskEngine, OnePool, Pool


class LocalSettings(BaseModel):
    """The settings of the local engine in a site file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(1, ge=1, le=1024, description="worker processes")
    memory_limit: int | str = Field(
        "auto", description="memory a worker may use, such as 4GiB; auto shares out what there is; 0 is no limit"
    )

    @field_validator("memory_limit")
    @classmethod
    def _amount(cls, value: int | str) -> int | str:
        if isinstance(value, str) and value != "auto" and not re.fullmatch(r"\d+(\.\d+)?\s*([kMGT]i?)?B", value):
            raise ValueError(f"must be like 4GiB, or auto, not {value!r}")
        return value


class LocalEngine(DaskEngine):
    """Runs tasks on spawned Dask workers of this machine, one thread each, restarted when they die."""

    def __init__(self, workers: int, memory_limit: str | int = "auto", gpus: int = 0, preload: Sequence[str] = ()) -> None:
        super().__init__(OnePool(Pool("", workers, lambda: _cluster(workers, memory_limit, gpus, preload))))


def _cluster(workers: int, memory_limit: str | int, gpus: int, preload: Sequence[str]) -> Any:
    from distributed import LocalCluster
    from distributed.deploy.cluster import Cluster

    class Workers(LocalCluster):
        """Nannies of this process; one whose worker cannot be started again gives up, and Dask does not say so."""

        @property
        def trouble(self) -> str:
            """Why the run cannot go on."""
            at_work = any(nanny.status.name not in ("closing", "closed", "failed") for nanny in self.workers.values())
            return "" if at_work else "no worker is left on this machine, and none could be started again"

        def _update_worker_status(self, op: str, msg: Any) -> None:
            # A `LocalCluster` gives up a nanny whose worker is away for 15 s, though it is just being started again on a busy machine.
            Cluster._update_worker_status(self, op, msg)

    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return Workers(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=memory_limit,
        preload=["astrosurvey.engines.worker", *preload],
        preload_argv=[["--gpus", str(gpus), "--threads", str(threads)], *([] for _ in preload)],
        preload_nanny=["astrosurvey.engines.nanny"],
        silence_logs=logging.CRITICAL,
    )
