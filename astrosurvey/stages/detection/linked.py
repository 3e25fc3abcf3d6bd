"""The bond between a segmentation and its sources: label i is row i - 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.stage import DataError

if TYPE_CHECKING:
    from ...products import Catalog, Fractions, Image, Segmentation


def check_linked(image: Image, segmentation: Segmentation, sources: Catalog) -> None:
    """Raise `DataError` unless the segmentation is the image's and has a label for every source.

    Raises:
        DataError: shapes differ, or there are more or fewer labels than sources.
    """
    labels = segmentation.labels
    if labels.shape != image.data.shape[-2:]:
        raise DataError(f"the segmentation is {labels.shape}, the image {image.data.shape[-2:]}: wire both from the same tile's stages")
    if (highest := int(labels.max(initial=0))) != len(sources):
        raise DataError(f"the segmentation has labels up to {highest}, but there are {len(sources)} sources: wire both from the same stage")


def check_shared(image: Image, fractions: Fractions, sources: Catalog) -> None:
    """Raise `DataError` unless fractions are the image's and there is a stamp for every source.

    Raises:
        DataError: shapes, bands or the number of sources differ.
    """
    if fractions.shape != image.data.shape[-2:] or len(fractions) != len(sources):
        raise DataError(
            f"the fractions are of {len(fractions)} sources on {fractions.shape} pixels, but there are {len(sources)} on "
            f"{image.data.shape[-2:]}: wire fractions and sources from the same stage"
        )
    if fractions.bands not in ((), image.bands):
        raise DataError(f"the fractions are for the bands {', '.join(fractions.bands)}, the image has {', '.join(image.bands)}")
