"""The page in a real browser: its script runs without an error, and does what it should."""

from __future__ import annotations

import re

import numpy as np
import pytest

from astrosurvey.report import write

from . import browser, runs

HOSTILE = "</script><script>document.documentElement.dataset.owned=1</script><img src=x onerror=\"document.title='owned'\">\x1b[2J\u202e"


@pytest.fixture(scope="module")
def page(field):
    return write(field)


def sound(loaded: browser.Loaded) -> bool:
    assert loaded.console == []
    assert "data-error" not in loaded.root, loaded.root
    return 'data-ready="true"' in loaded.root


def test_page_runs_without_an_error(page):
    assert sound(browser.load(page))


def test_fault_is_noticed(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(re.sub(r"data:image/jpeg;base64,\S{20}", "data:image/jpeg;base64,AAAA", page.read_text(), count=1))
    assert "data-error" in browser.load(broken).root


def test_foreign_script_does_not_run(page, tmp_path):
    changed = tmp_path / "changed.html"
    changed.write_text(page.read_text().replace("</body>", "<script>document.documentElement.dataset.owned=1</script></body>"))
    loaded = browser.load(changed)
    assert "data-owned" not in loaded.root
    assert "script-src" in loaded.root + "".join(loaded.console)


def test_fragment_opens_the_source(page):
    loaded = browser.load(page, "#source=7001")
    assert sound(loaded)
    panel = re.search(r'<aside id="panel".*?</aside>', loaded.dom, re.S)[0]
    assert 'data-source="7001"' in panel
    assert "BLENDED" in panel
    assert "SATURATED" in panel
    assert "2000 ± 10" in panel  # kron in g: 1000 nJy times two
    assert "23.15 ± 0.01" in panel  # 31.4 - 2.5 log10(2000)
    assert "star" in panel or "galaxy" in panel  # the true object a quarter of a pixel away


def test_unknown_source_is_said_to_be_unknown(page):
    loaded = browser.load(page, "#source=99")
    assert sound(loaded)
    assert "There is no source 99 in this page." in loaded.dom


def test_tiles_without_windows_have_a_chooser(tmp_path):
    root = runs.field(tmp_path / "run")
    for stage in ("sim", "sky"):
        for tile in (0, 1):
            _, _, truth = runs.catalogues(tile)
            products = {"image": runs.image(tile), **({"truth": truth} if stage == "sim" else {})}
            runs.put(root, stage, f"t{tile}", products, identity={"name": f"t{tile}", "number": 7 + tile})
    loaded = browser.load(write(root), "#source=8003")
    assert sound(loaded)
    assert 'data-source="8003"' in loaded.dom


@pytest.mark.parametrize("stage", ["sky", "measure"])
def test_run_without_products_still_has_a_page(tmp_path, stage):
    root = tmp_path / "run"
    runs.write_about(root, {stage: {"use": "background.mesh"}}, exit_code=None, finished=None)
    assert sound(browser.load(write(root)))


def test_hostile_strings_stay_text(tmp_path):
    root = tmp_path / "run"
    runs.write_about(
        root,
        {"sky": {"use": HOSTILE, "path": HOSTILE, "in": {"image": f"{HOSTILE}.image"}}},
        title=HOSTILE,
        host=HOSTILE,
        command=["astrosurvey", HOSTILE],
        versions={HOSTILE: HOSTILE},
        stopped=HOSTILE,
        exit_code=3,
        broken_plugins=[HOSTILE],
    )
    image = runs.image(0)
    bands = ("<b>g", "r'\"", "&i")
    hostile_image = type(image)(image.data, bands, image.variance, image.mask, None, image.wcs, meta={"object": HOSTILE})
    name = "t<svg onload=alert(1)>"
    facts = {"warnings": [HOSTILE], "device": HOSTILE, "log": [HOSTILE]}
    runs.put(root, "sky", name, {"image": hostile_image}, identity=runs.window(0), facts=facts)
    runs.fail(root, "sky", "t<b>1", HOSTILE)
    path = write(root)
    text = path.read_text()
    assert "<svg onload" not in text
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    loaded = browser.load(path)
    assert sound(loaded)
    assert "data-owned" not in loaded.root
    assert "<title>owned" not in loaded.dom
    assert "&lt;/script&gt;&lt;script&gt;" in loaded.dom


def test_plugin_section_is_shown_and_runs_no_script(field, tmp_path, monkeypatch):
    fragment = "<p id='mine'>A plot</p><script>top.document.documentElement.dataset.owned=1</script><img src='https://example.org/x.png'>"
    monkeypatch.setattr("astrosurvey.plugins.hook_results", lambda hook, **_: [[("Mine <b>", fragment)]])
    root = tmp_path / "run"
    runs.write_about(root, {"sky": {"use": "background.mesh"}})
    loaded = browser.load(write(root))
    assert "data-owned" not in loaded.root
    assert "data-ready" in loaded.root
    assert 'sandbox="allow-same-origin"' in loaded.dom
    assert "Mine &lt;b&gt;" in loaded.dom
    height = re.search(r'<iframe class="plugin"[^>]*style="height: (\d+)px', loaded.dom)
    assert height
    assert int(height[1]) > 40


@pytest.mark.parametrize(("width", "dark"), [(1300, False), (1300, True), (420, False)])
def test_sky_is_painted(page, tmp_path, width, dark):
    from PIL import Image

    shot = browser.screenshot(page, tmp_path / "page.png", "#sky", size=(width, 1000), dark=dark)
    with Image.open(shot) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    brightness = pixels.mean(axis=2)
    # The canvas is dark whatever the theme; over it there are bright sources and their coloured outlines.
    assert (brightness < 60).mean() > 0.1
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    assert (spread > 60).sum() > 200
    corner = pixels[-5:, -5:].mean()
    assert corner < 60 if dark else corner > 200
