"""`astrosurvey collect`."""

from __future__ import annotations

from pathlib import Path

import click

from ._shared import json_option, print_json


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--resubmit", is_flag=True, help="Submit the elements again that have not ended.")
@click.option("--no-report", is_flag=True, help="Write no HTML report.")
@json_option
def collect(run: Path, resubmit: bool, no_report: bool, as_json: bool) -> int:
    """Gather what the job arrays of directory RUN have done into its record and report, from files alone.

    Exit status: as that of `astrosurvey run`; 3 while elements are in the queue, or have not ended.
    """
    from ..core.run import ExitCode
    from ..engines.array.collect import collect as gather
    from ..plugins import tell_plugins
    from .run import as_values, summary, write_report

    found = gather(run.resolve(), resubmit=resubmit, listeners=[tell_plugins])
    result = found.result
    report = None if result is None or no_report else write_report(result.store.root)
    elements = {"queued": found.queued, "open": found.open, "out_of_memory": found.hungry, "settled_tasks": found.settled}
    if as_json:
        print_json({**(as_values(result, report) if result else {"exit_code": int(ExitCode.STOPPED)}), "elements": elements})
    elif result is None:
        click.echo(f"{found.settled} tasks are settled, {len(found.queued)} elements are in the queue; collect again when they have ended")
    else:
        click.echo(summary(result))
        for line in found.where[:3]:
            click.echo(line)
        if found.hungry:
            click.echo(f"{len(found.hungry)} of them ran out of memory, and get more of it when they are submitted again")
        if report:
            click.echo(f"report: {report}")
    return int(result.exit_code if result else ExitCode.STOPPED)
