"""DS9 region files."""

from __future__ import annotations

import numpy as np

HEADER = "# Region file format: DS9 version 4.1"
FORMATS = {"icrs": ("{:.7f}", '{:.3f}"'), "image": ("{:.3f}", "{:.2f}")}


def region_text(frame: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray, ids: np.ndarray | None, colour: str) -> str:
    """Return a region file of circles.

    Args:
        frame: "icrs" (degrees, radii in arcsec) or "image" (0-based pixels, written 1-based as DS9 counts).
        x, y: (n,) positions.
        radius: (n,) radii.
        ids: (n,) labels, whole numbers only, so that no text of a file becomes part of DS9's language; None for none.
        colour: a colour's name.
    """
    position, size = FORMATS[frame]
    shift = 1.0 if frame == "image" else 0.0
    lines = [HEADER, f"global color={colour} width=1 select=1 edit=1 move=1 delete=1", frame]
    for i in range(len(x)):
        circle = f"circle({position.format(x[i] + shift)},{position.format(y[i] + shift)},{size.format(radius[i])})"
        lines.append(circle if ids is None else f"{circle} # text={{{int(ids[i])}}}")
    return "\n".join([*lines, ""])
