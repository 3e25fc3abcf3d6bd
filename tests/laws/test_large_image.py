"""One image of 20 000 x 20 000 pixels is cut into tiles that are read by window: memory follows the tile, not the image."""

import json

SIDE = 20_000


def sparse_image(path):
    """Write a FITS image of zeros that takes 1.6 GB when read and next to nothing on disk."""
    cards = [
        "SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2",
        f"NAXIS1  = {SIDE:20d}", f"NAXIS2  = {SIDE:20d}", "BUNIT   = 'nJy     '", "END",
    ]  # fmt: skip
    header = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    size = 2880 * (1 + -(-SIDE * SIDE * 4 // 2880))
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(size)


def test_memory_follows_the_tile(command, tmp_path):
    sparse_image(tmp_path / "big.fits")
    (tmp_path / "big.yaml").write_text(
        "astrosurvey: 1\ntiles: {image: big.fits, size: 1024, overlap: 64}\nstages:\n  image: {use: io.image, bands: [r]}\n"
    )
    done = command("run", "big.yaml", "--out", "run", "--no-report", "--tiles", "y[12]0x20")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["tiles"] == 21 * 21
    record = json.loads((tmp_path / "run" / "products" / "image" / "y20x20" / "task.json").read_text())
    assert record["outputs"]["image"]["summary"]["shape"] == [1, 20000 - 20 * 960, 20000 - 20 * 960]
    assert record["facts"]["peak_bytes"] < SIDE * SIDE * 4 / 2
