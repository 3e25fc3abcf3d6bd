"""How well one segmentation agrees with another: intersection over union, object by object.

References:
    Jaccard (1912), New Phytologist 11, 37; Kirillov et al. (2019), Panoptic segmentation, arXiv:1801.00868.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlaps:
    """The objects of a true segmentation and how well each was found; arrays (n,).

    Attributes:
        label: the true label.
        area: its pixels.
        iou: intersection over union with the label that shares most of its pixels; 0 where none does.
        n_found: labels of the other segmentation.
        both, either: pixels that have a label in both, and in one of them.
    """

    label: np.ndarray
    area: np.ndarray
    iou: np.ndarray
    n_found: int
    both: int
    either: int


def overlaps(true: np.ndarray, found: np.ndarray) -> Overlaps:
    """Compare two label images, (y, x) int, of which 0 is sky.

    Each label is used once: among the true objects that share most pixels with one label, that of the larger overlap has it.
    """
    true, found = true.ravel().astype(np.int64), found.ravel().astype(np.int64)
    labels, area = np.unique(true[true > 0], return_counts=True)
    others, other_area = np.unique(found[found > 0], return_counts=True)
    shared = (true > 0) & (found > 0)
    iou = np.zeros(len(labels))
    if shared.any():
        i, j = np.searchsorted(labels, true[shared]), np.searchsorted(others, found[shared])
        pairs, common = np.unique(i * len(others) + j, return_counts=True)
        i, j = pairs // len(others), pairs % len(others)
        union = area[i] + other_area[j] - common
        order = np.lexsort((j, i, -common))
        free_true, free_found = np.ones(len(labels), bool), np.ones(len(others), bool)
        for k in order.tolist():
            if free_true[i[k]] and free_found[j[k]]:
                free_true[i[k]] = free_found[j[k]] = False
                iou[i[k]] = common[k] / union[k]
    return Overlaps(labels, area, iou, len(others), int(shared.sum()), int(((true > 0) | (found > 0)).sum()))
