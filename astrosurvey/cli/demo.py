"""`astrosurvey demo`: a survey in a minute, without data or network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ._shared import json_option, print_json


@click.command()
@click.option("--out", type=click.Path(file_okay=False), default="demo", show_default=True, help="The run directory.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes; as many as there are cores, up to four, when left out.")
@json_option
def demo(out: str, workers: int | None, as_json: bool) -> int:
    """Simulate a small survey of overlapping three-band tiles, run a pipeline on it, write a report."""
    from .. import api
    from .progress import listener
    from .run import as_values, summary, write_report

    pipeline = demo_pipeline()
    workers = workers or min(len(os.sched_getaffinity(0)), 4)
    if not as_json:
        click.echo(f"the pipeline: {pipeline}\nthe survey is simulated; nothing is downloaded", err=True)
    checked = api.load(pipeline)
    with listener(quiet=as_json) as progress:
        engine = "local" if workers > 1 else "inline"
        result = api.run(checked, out, engine=engine, workers=workers, listeners=[progress], command=["astrosurvey", "demo"])
    report = write_report(result.store.root)
    if as_json:
        print_json({**as_values(result, report), **_findings(result)})
        return int(result.exit_code)
    click.echo(summary(result))
    found = _findings(result)
    if found:
        judge = checked.nodes["judge"].config
        click.echo(
            f"{found['sources']} sources, {found['purity']:.0%} of them true; "
            f"{found['completeness']:.0%} of the true objects with {judge.band} < {judge.magnitude_limit:g} found"
        )
    click.echo(f"report: {report}\nnext: copy {pipeline}, change it, and `astrosurvey run` it")
    return int(result.exit_code)


def demo_pipeline() -> Path:
    """Return the demo's pipeline file: in the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "examples" / "demo.yaml"
    return installed if installed.is_file() else package.parent / "examples" / "demo.yaml"


def _findings(result: Any) -> dict[str, Any]:
    """Return the demo's headline numbers, from the records of the run."""
    survey, judge = result.store.record("survey", None), result.store.record("judge", None)
    if not (survey and judge):
        return {}
    values = judge.outputs["metrics"].summary["values"]
    rows = survey.outputs["sources"].summary["rows"]
    return {"sources": rows, "completeness": values["completeness"], "purity": values["purity"]}
