"""Pictures with captions that a stage exports, in a section of the report."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.store import Store

CAPTIONS = "captions.json"
"""The file beside the pictures of a port `pictures`: captions by the pictures' names."""
MOST = 24


def picture_section(run: Path, stages: Mapping[str, Any], use: str, title: str, intro: str, width: int) -> list[tuple[str, str]]:
    """Return the report's section with the pictures that stages of one kind have made in a run, at most MOST; none without any.

    Args:
        run: the run's folder.
        stages: what the report knows of each stage of the run.
        use: name of the kind of stage.
        title: of the section.
        intro: HTML before the pictures.
        width: greatest width of a picture, rem.
    """
    style = f"display:inline-block;margin:0 1rem 1rem 0;max-width:{width}rem"
    figures: list[str] = []
    store = Store(run)
    for stage, about in stages.items():
        if about["use"] != use:
            continue
        for _, tile in store.published(stage):
            if len(figures) >= MOST:
                break
            captions = store.get(store.folder(stage, tile) / "pictures") / CAPTIONS
            if not captions.is_file():
                continue
            for name, caption in json.loads(captions.read_text(encoding="ascii")).items():
                data = base64.b64encode((captions.parent / name).read_bytes()).decode("ascii")
                where = html.escape(f"{tile}: {caption}")
                picture = f'<img alt="" src="data:image/png;base64,{data}">'
                figures.append(f'<figure style="{style}">{picture}<figcaption>{where}</figcaption></figure>')
    return [(title, intro + "".join(figures[:MOST]))] if figures else []
