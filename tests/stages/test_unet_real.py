"""The built-in network on real frames: it finds what sep finds there above ten sigma, and more."""

from __future__ import annotations

import numpy as np
import pytest
import sep
from scipy.spatial import cKDTree

from astrosurvey import Model, plugins
from astrosurvey.stages.background.stage import MeshBackground
from astrosurvey.stages.detection.unet.stage import UNetDetection

from .running import run
from .test_real_images import as_image, load

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("file", "fwhm", "box", "least"),
    [("emmi_ngc_rband_256.fits", 2.2, 32, 1.0), ("decam_tile_r.fits", 2.2, 64, 1.0), ("spitzer_irac_galplane.fits", 2.2, 32, 0.99)],
)
def test_it_finds_what_sep_finds_above_ten_sigma(real_data, file, fwhm, box, least):
    data, _ = load(real_data / "images" / file)
    data = np.nan_to_num(np.ascontiguousarray(data.reshape((-1, *data.shape[-2:]))[0], np.float32))
    background = sep.Background(data, bw=box, bh=box)
    theirs, footprints = sep.extract(data - background.back(), 1.5, err=background.globalrms, segmentation_map=True)
    firm = theirs["flux"] / (background.globalrms * np.sqrt(theirs["npix"])) > 10

    image = run(MeshBackground, {"box": box}, image=as_image(data, ("r",)))["image"]
    model = Model.read(plugins.load().models["unet-v1"])
    sources = run(UNetDetection, {"fwhm": fwhm}, image=image, model=model)["sources"]
    x, y = np.asarray(sources.column("x")), np.asarray(sources.column("y"))
    distance, _ = cKDTree(np.stack([x, y], 1)).query(np.stack([theirs["x"], theirs["y"]], 1))
    ny, nx = data.shape
    touched = np.unique(footprints[np.clip(np.rint(y), 0, ny - 1).astype(int), np.clip(np.rint(x), 0, nx - 1).astype(int)])
    found = (distance < 3) | np.isin(np.arange(1, len(theirs) + 1), touched)
    assert found[firm].mean() >= least
    assert len(sources) > len(theirs)
