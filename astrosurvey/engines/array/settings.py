"""What a site file says of job arrays, under `array:`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ArraySettings(BaseModel):
    """How a run is cut into job arrays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: int | None = Field(
        None, ge=1, description="tiles that an element of an array takes; as few as the site's largest array allows when left out"
    )
    max_size: int | None = Field(
        None, ge=2, le=4_000_000, description="elements of an array at most; MaxArraySize of `scontrol show config` when left out"
    )
    signal: int = Field(60, ge=10, le=3600, description="seconds before the walltime at which an element is told to stop")
    requeues: int = Field(10, ge=0, le=1000, description="how often an element whose walltime ended is put back into the queue")
