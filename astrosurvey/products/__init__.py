"""What edges carry: one file a product, with its reader, its writer and its check."""

from .catalog import Catalog
from .image import Image

__all__ = ["Catalog", "Image"]
