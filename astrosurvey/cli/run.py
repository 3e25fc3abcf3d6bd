"""`astrosurvey run`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._shared import json_option, load, out_option, pipeline_options, plain, print_json, selection_options, table

if TYPE_CHECKING:
    from ..core.run import RunResult


@click.command()
@pipeline_options
@out_option
@click.option(
    "--engine", metavar="NAME|FILE", help="inline, local, a plugin's engine or a site file.  [default: inline, local with workers]"
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes of the local engine.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where kernels and networks run; overrides the pipeline.")
@selection_options
@click.option("--verify", is_flag=True, help="Hash every input and product again before it counts as done.")
@click.option(
    "--force-unlock", is_flag=True, help="Take over from another host's coordinator that is gone, and whose heartbeat stands still."
)
@click.option("--no-report", is_flag=True, help="Write no HTML report at the end.")
@json_option
def run(
    pipeline: str, overlays: Any, overrides: Any, out: str | None, engine: str | None, workers: int, device: str | None,
    selection: Any, verify: bool, force_unlock: bool, no_report: bool, as_json: bool,
) -> int:  # fmt: skip
    """Run PIPELINE, or resume it: what is up to date is not run again.

    Exit status: 0 all done; 1 some tasks failed; 2 the pipeline or the command is wrong; 3 stopped; 130
    interrupted, run again to resume.
    """
    checked = load(pipeline, overlays, overrides)
    from .. import api
    from ..core.device import decide
    from .progress import listener

    chosen, why, _ = decide(device or checked.run.device)
    if not as_json:
        click.echo(f"device: {chosen} ({why})", err=True)
    root = Path(out) if out else Path("runs") / checked.name
    with listener(quiet=as_json) as progress:
        result = api.run(
            checked,
            root,
            engine=engine or ("local" if workers > 1 else "inline"),
            workers=workers,
            device=chosen,
            selection=selection,
            listeners=[progress],
            verify=verify,
            force_unlock=force_unlock,
            command=["astrosurvey", *sys.argv[1:]],
        )
    report = None if no_report else write_report(result.store.root)
    if as_json:
        print_json(as_values(result, report))
    else:
        click.echo(summary(result))
        if report:
            click.echo(f"report: {report}")
    return int(result.exit_code)


def write_report(root: Path) -> Path | None:
    """Write the run's report; a report that cannot be written is a warning, not a failed run."""
    from ..report import write

    try:
        return write(root)
    except Exception as error:
        click.echo(f"warning: no report was written: {type(error).__name__}: {error}", err=True)
        return None


def as_values(result: RunResult, report: Path | None) -> dict[str, Any]:
    """Return a run's result as JSON values."""
    stages: dict[str, dict[str, int]] = {}
    for (stage, state), number in result.counts.items():
        stages.setdefault(stage, {})[state] = number
    failures = [{"stage": s, "tile": t, "kind": f.kind, "message": f.message} for s, t, f in result.failures]
    return {
        "exit_code": int(result.exit_code),
        "out": str(result.store.root),
        "seconds": round(result.seconds, 2),
        "stopped": result.stopped,
        "counts": stages,
        "failures": failures,
        "report": str(report) if report else None,
    }


def summary(result: RunResult) -> str:
    """Return the closing lines: stage by state, the most common errors, and how to reproduce one."""
    from ..core.plan import State

    states = [s for s in State if any(state is s for _, state in result.counts)]
    stages = list(dict.fromkeys(stage for stage, _ in result.counts))
    rows = [[stage, *(result.counts[stage, s] or "·" for s in states)] for stage in stages]
    lines = ["", table(["stage", *states], rows, right=range(1, len(states) + 1)), ""]
    lines += common_failures(result)
    done = sum(n for (_, s), n in result.counts.items() if s in (State.DONE, State.CACHED, State.EMPTY))
    lines.append(f"{done} of {result.counts.total()} tasks done in {result.seconds:.1f} s; products in {result.store.root}")
    if result.stopped:
        lines.append(plain(result.stopped))
    return "\n".join(lines)


def common_failures(result: RunResult, most: int = 3) -> list[str]:
    """Return lines about the most common errors, with one example each and the command to reproduce one."""
    if not result.failures:
        return []
    groups: dict[str, list[tuple[str, str | None, str]]] = {}
    for stage, tile, failure in result.failures:
        text = failure.message.replace(tile, "TILE") if tile else failure.message
        groups.setdefault(f"{stage}: {failure.kind}: {text}", []).append((stage, tile, failure.message))
    ranked = sorted(groups.values(), key=len, reverse=True)
    lines = [f"{len(result.failures)} failed:"]
    for group in ranked[:most]:
        stage, tile, message = group[0]
        others = f" (and {len(group) - 1} more like it)" if len(group) > 1 else ""
        lines.append(f"  {stage}/{tile or 'survey'}{others}: {plain(message)}")
    stage, tile, _ = ranked[0][0]
    script = result.store.failure_folder(stage, tile) / "reproduce.sh"
    return [*lines, f"  to reproduce the first: sh {json.dumps(str(script)) if ' ' in str(script) else script}", ""]
