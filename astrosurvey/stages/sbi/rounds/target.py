"""What has been observed: what rounds are about."""

from __future__ import annotations

import numpy as np

from ....core.product import Tiles
from ....core.stage import Context, DataError, NoWork
from ....products import Observations, Samples
from ..data import whole


def by_id(tiles: Tiles[Observations]) -> Tiles[Observations]:
    """Return tiles in the order of the ids that they begin with, so that posteriors do not depend on the order in which tiles come."""
    place = {name: (int(part.ids[0]) if len(part) else -1, k) for k, (name, part) in enumerate(tiles.items())}
    return Tiles(sorted(place, key=place.__getitem__), lambda name: tiles[place[name][1]])


def observed(target: Tiles[Observations]) -> Observations:
    """Return all that has been observed, with its parameters where they are known; what several tiles have read from one file counts once.

    Raises:
        NoWork: there is nothing.
        DataError: tiles hold observations of different kinds.
    """
    parts: list[Observations] = []
    for tile, part in by_id(target).items():
        if not len(part) or any(np.array_equal(part.data, other.data, equal_nan=True) for other in parts):
            continue
        if parts and _kind(part) != _kind(parts[0]):
            raise DataError(f"tile {tile}: observations of `target` are of another kind than the ones before")
        parts.append(part)
    if not parts:
        raise NoWork("nothing has been observed")
    data, ids = (np.concatenate([np.asarray(getattr(part, name)) for part in parts]) for name in ("data", "ids"))
    known = _known([part.parameters for part in parts])
    return Observations(data, ids, parts[0].about, parts[0].names, known, units=parts[0].units)


def telling(ctx: Context, seen: Observations, *, sets: bool = False) -> np.ndarray:
    """Return the (m, …) data of those observations that say where the next round should look.

    Args:
        ctx: takes warnings.
        seen: what has been observed.
        sets: data are (row, column), and a row in which a value is missing is none.

    Raises:
        DataError: all have missing values.
    """
    x = np.asarray(seen.data, np.float32)
    there = whole(x, sets=sets)
    if not there.any():
        raise DataError("every observation of `target` has missing values: nothing says where the next round should look")
    if not there.all():
        ctx.log.warning("%d of %d observations have missing values, and no say in the next round", (~there).sum(), len(x))
    return x[there]


def _kind(part: Observations) -> tuple[object, ...]:
    return part.data.shape[1:], part.names, part.units, part.about


def _known(parts: list[Samples | None]) -> Samples | None:
    """Return the parameters of several parts as one, or None where nobody knows those of one, or they are other ones."""
    there = [part for part in parts if part is not None]
    if len(there) < len(parts) or any(part.parameters != there[0].parameters for part in there):
        return None
    return Samples(np.concatenate([part.draws for part in there]), there[0].parameters, there[0].units)
