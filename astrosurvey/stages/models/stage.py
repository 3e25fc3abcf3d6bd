"""Trained models from files and from the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ...core.stage import Context, DataError, FilePath, Stage, StageConfig
from ...core.tiles import Tile
from ...products import Model

BUILTIN = "builtin:"


class LoadModel(Stage):
    """Read a trained model: one that ships with astrosurvey or a plugin, or a folder that a training stage wrote.

    `astrosurvey models` lists the built-in ones. A folder holds `model.safetensors` and `card.json`, as
    the products of training stages do.
    """

    name = "models.load"
    scope = "survey"
    outputs = {"model": Model}

    class Config(StageConfig):
        """Settings of `models.load`."""

        model: str | None = Field(None, pattern=r"^builtin:.+", description="a built-in model, as `builtin:<name>`")
        path: FilePath | None = Field(None, description="the folder of a stored model: model.safetensors and card.json")

        @model_validator(mode="after")
        def _one(self) -> LoadModel.Config:
            if (self.model is None) == (self.path is None):
                raise ValueError("give either `model: builtin:<name>` or `path: <folder>`")
            return self

    def run(self, ctx: Context) -> Mapping[str, Any]:
        """Return the model."""
        return {"model": Model.read(Path(_folder(self.config)))}

    @classmethod
    def external_files(cls, config: Any, tile: Tile | None) -> list[str]:
        """Return the model's folder, so that the model is keyed by its content."""
        return [_folder(config)]


def _folder(config: Any) -> str:
    """Return the folder that the settings name.

    Raises:
        DataError: no built-in model has that name.
    """
    from ...plugins import load

    if config.path is not None:
        return str(config.path)
    name, models = config.model.removeprefix(BUILTIN), load().models
    if name not in models:
        raise DataError(f"there is no built-in model {name!r}; there are {', '.join(sorted(models)) or 'none'} (`astrosurvey models`)")
    return str(models[name])
