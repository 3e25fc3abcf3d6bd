"""The numbers of `evaluate.segmentation`: intersection over union, overall and by area."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ...products.metrics import Metric
from . import scorer
from .match import robust
from .overlap import Overlaps
from .scores import Curve
from .signal import fraction_curve, fraction_metric

AREAS = (1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, np.inf)


def overlap_scores(parts: Sequence[Overlaps], min_pixels: int, bar: float | None) -> tuple[list[Metric], dict[str, Curve]]:
    """Return metrics and curves.

    Args:
        parts: the overlaps of each tile.
        min_pixels: true objects of fewer pixels are left out of the numbers, not of the curves.
        bar: on the median.
    """
    area = np.concatenate([np.zeros(0, np.int64), *(part.area for part in parts)])
    iou = np.concatenate([np.zeros(0), *(part.iou for part in parts)])
    n_found = sum(part.n_found for part in parts)
    counted = area >= min_pixels
    alike = iou > 0.5
    middle, scatter, error = robust(iou[counted])
    n = int(np.count_nonzero(counted))
    agreeing = int(np.count_nonzero(alike & counted))
    # Kirillov et al. (2019), equation 1: what is found and is not there, and the reverse, weighs a half.
    divisor = agreeing + 0.5 * (n - agreeing) + 0.5 * (n_found - int(np.count_nonzero(alike)))
    both, either = sum(part.both for part in parts), sum(part.either for part in parts)
    values = [
        Metric("n_true", n, description=f"true objects of {min_pixels} or more pixels"),
        Metric("n_found", n_found, description="labels of the segmentation judged"),
        Metric(
            "iou_median",
            middle,
            error=error if np.isfinite(error) else None,
            bar=bar,
            description="median intersection over union of true objects; 0 for those not found",
        ),
        Metric("iou_scatter", scatter, better="lower", description="1.48 MAD of the same"),
        fraction_metric("iou_over_half", scorer.Fraction(agreeing, n), "fraction of true objects that agree by more than a half"),
        Metric(
            "panoptic_quality",
            float(np.sum(iou[alike & counted]) / divisor) if divisor else np.nan,
            description="sum of the overlaps of more than a half, over the mean number of true objects and labels",
        ),
        Metric("pixel_iou", both / either if either else np.nan, description="intersection over union of all labelled pixels"),
    ]
    fractions = scorer.in_bins(alike, area.astype(float), AREAS)
    curve: Curve = {"area_min": [], "area_max": [], "iou": [], "error": [], "n": []}
    for low, high in pairwise(AREAS):
        here = (area >= low) & (area < high)
        if here.any():
            median, _, uncertainty = robust(iou[here])
            row = (low, high if np.isfinite(high) else None, median, uncertainty, int(here.sum()))
            for column, value in zip(curve, row, strict=True):
                curve[column].append(value)
    curves = {
        "intersection over union by true area": curve,
        "objects that agree by more than a half by true area": fraction_curve("area", AREAS, "fraction", fractions),
    }
    return values, {name: curve for name, curve in curves.items() if curve["n"]}
