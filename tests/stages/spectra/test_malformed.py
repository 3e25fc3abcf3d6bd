"""Law 11 for spectra: whatever is done to a file's bytes, it is read, or refused in one line that names it; never a crash."""

from __future__ import annotations

import os

import numpy as np
import pytest

from astrosurvey.core.stage import DataError, NoWork
from tests.stages.spectra import files
from tests.stages.spectra.files import FLUX, IVAR, SETTINGS, UNIT, WAVE, image, read, table_hdu, write


def make(kind, folder):
    """Return a small sound file of a kind."""
    path = folder / f"{kind}.fits"
    if kind == "sdss":
        return files.sdss(path)
    if kind == "desi":
        planes = [image(f"B_{name}", values) for name, values in (("WAVELENGTH", WAVE), ("FLUX", FLUX[None]), ("IVAR", IVAR[None]))]
        return write(path, table_hdu("FIBERMAP", TARGETID=np.array([1]), TARGET_RA=[1.0], TARGET_DEC=[2.0]), *planes)
    if kind == "planes":
        hdus = image("FLUX", FLUX[None], BUNIT=UNIT), image("IVAR", IVAR[None]), image("MASK", np.zeros((1, 400), np.int32))
        return write(path, *hdus, image("WAVE", WAVE, BUNIT="Angstrom"), AIRORVAC="vac")
    if kind == "rows":
        columns = {"NAME": ["a"], "FLUX": FLUX[None], "IVAR": IVAR[None], "WAVE": WAVE[None]}
        return write(path, table_hdu("S", {"FLUX": UNIT, "WAVE": "Angstrom"}, {"AIRORVAC": "vac"}, **columns))
    return files.csv(folder / "table.csv")


@pytest.mark.parametrize("kind", ["sdss", "desi", "planes", "rows", "table"])
def test_damaged_bytes(kind, tmp_path):
    sound = make(kind, tmp_path)
    raw = sound.read_bytes()
    rng = np.random.default_rng(len(kind))
    cards = [place for place in range(0, len(raw), 80) if raw[place : place + 8].strip().isalnum()] if kind != "table" else [0]
    settings = SETTINGS if kind == "table" else {}
    messages = {}
    for trial in range(80):
        damaged = bytearray(raw)
        if trial % 2:  # somewhere in a header's card
            place = int(rng.choice(cards)) + int(rng.integers(0, 40))
            damaged[place] = int(rng.choice(list(b"0123456789-+.'ETF \0\xff")))
        else:
            for place in rng.integers(0, len(raw), int(rng.integers(1, 30))):
                damaged[place] = int(rng.integers(0, 256))
        if trial % 10 == 9:
            del damaged[int(rng.integers(0, len(raw))) :]
        path = tmp_path / f"x{trial}{sound.suffix}"
        path.write_bytes(damaged)
        try:
            read(path, **settings)
        except NoWork:
            pass
        except DataError as error:
            messages[path.name] = str(error)
        path.unlink()
    assert len(messages) > 5
    assert [message for name, message in messages.items() if "\n" in message or name not in message] == []


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "zero.fits").symlink_to("/dev/zero")
    (tmp_path / "folder.fits").mkdir()
    for name, word in (("pipe", "named pipe"), ("zero", "character device"), ("folder", "folder"), ("none", "no such file")):
        with pytest.raises(DataError, match=word):
            read(tmp_path / f"{name}.fits")
