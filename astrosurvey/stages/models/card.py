"""What a stage asks of a model's card before it believes the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.stage import DataError

if TYPE_CHECKING:
    from ...products import Image, Model


def bands_of(model: Model, image: Image, *, task: str, needs: Sequence[str]) -> tuple[str, ...] | None:
    """Return the bands that a model looks at side by side, None if it is for any.

    Args:
        model: the model.
        image: what it shall look at.
        task: what its card must say under `task`; `<task>.train` makes such models.
        needs: what else its card must hold.

    Raises:
        DataError: it is for another task, its card lacks something, or it is for bands that the image does not have.
    """
    if model.card.get("task") != task:
        raise DataError(f"the model is for {model.card.get('task', 'something')!r}, not for {task}: wire the output of {task}.train")
    missing = [key for key in needs if key not in model.card]
    if missing:
        raise DataError(f"the model's card says nothing of {', '.join(missing)}: wire a model as {task}.train writes it")
    bands = tuple(model.card.get("bands") or ())
    if not set(bands) <= set(image.bands):
        raise DataError(
            f"the model was trained for the bands {', '.join(bands)}, but the image has {', '.join(image.bands)}: "
            "wire a model for these bands, or one that is for any"
        )
    return bands or None
