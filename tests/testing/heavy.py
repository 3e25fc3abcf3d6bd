"""A stage whose module imports what it should not."""

import scipy.ndimage  # noqa: F401

from .rogues import Honest


class Heavy(Honest):
    """Take long to be listed."""

    name = "rogue.heavy"
