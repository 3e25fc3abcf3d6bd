"""What edges carry: one file a product, with its reader, its writer and its check.

`__all__` is the list of the products; `Metric` is one entry of `Metrics`.
"""

from .catalog import Catalog
from .cube import Cube
from .export import Export
from .fractions import Fractions
from .image import Image
from .lightcurves import LightCurves
from .metrics import Metric as Metric
from .metrics import Metrics
from .model import Model
from .observations import Observations
from .psf import PsfModel
from .samples import Samples
from .segmentation import Segmentation
from .spectra import Spectra

__all__ = [
    "Catalog",
    "Cube",
    "Export",
    "Fractions",
    "Image",
    "LightCurves",
    "Metrics",
    "Model",
    "Observations",
    "PsfModel",
    "Samples",
    "Segmentation",
    "Spectra",
]
