"""`astrosurvey compare`: two runs, source by source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._shared import json_option, plain, print_json, table


@click.command()
@click.argument("first", metavar="RUN1", type=click.Path(exists=True, file_okay=False))
@click.argument("second", metavar="RUN2", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--radius",
    type=click.FloatRange(min=0, min_open=True),
    help="Greatest distance of a match, arcsec (pixels without sky positions).  [default: 1, or 3]",
)
@click.option("--out", type=click.Path(dir_okay=False), metavar="FILE.html", help="Also write a page with both side by side.")
@json_option
def compare(first: str, second: str, radius: float | None, out: str | None, as_json: bool) -> None:
    """Match the sources of RUN1 and RUN2 by position and say how their numbers and settings differ."""
    from ..report.comparison import CannotCompare, compare_runs

    try:
        found = compare_runs(Path(first), Path(second), radius=radius)
    except CannotCompare as error:
        raise click.UsageError(str(error)) from None
    if out:
        from ..report.comparison_page import write_comparison

        try:
            write_comparison(found, Path(out))
        except OSError as error:
            raise click.ClickException(f"the page cannot be written: {error}") from None
    if as_json:
        print_json({**found.as_json(), "page": out})
        return
    click.echo(said(found))
    if out:
        click.echo(f"page: {out}")


def said(found: Any) -> str:
    """Return a comparison as text for people."""
    lines = [
        f"{found.names[0]}: {found.counts[0]} sources of {plain(found.origins[0])}",
        f"{found.names[1]}: {found.counts[1]} sources of {plain(found.origins[1])}",
        f"{found.matched} matched within {found.radius:g} {found.unit}, only in the first {found.only[0]}, in the second {found.only[1]}",
    ]
    if found.positions:
        rows = [[p.name, p.number, f"{p.median:+.4g}", f"{p.scatter:.3g}"] for p in found.positions]
        lines += ["", table(["position", "sources", f"median ({found.unit})", "scatter"], rows, right=range(1, 4))]
    if found.fluxes:
        rows = [[plain(f.method), plain(f.band), f.number, f"{f.ratio:.5f}", f"{f.scatter:.3g}", f"{f.pull:.3g}"] for f in found.fluxes]
        lines += ["", table(["method", "band", "sources", "flux ratio", "scatter", "pull"], rows, right=range(2, 6))]
    lines += ["", "settings that differ:" if found.settings else "the settings are the same"]
    lines += [plain(f"  {d.key}: {d.first} → {d.second}") for d in found.settings]
    return "\n".join(lines + [plain(note) for note in found.notes])
