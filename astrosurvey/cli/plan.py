"""`astrosurvey plan`, `validate` and `explain`: what would happen, without it happening."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ._shared import json_option, load, out_option, pipeline_options, plain, print_json, selection_options, table


@click.command()
@pipeline_options
@out_option
@selection_options
@click.option("--verify", is_flag=True, help="Hash every input and product again before it counts as up to date.")
@click.option("--slurm-array", is_flag=True, help="Write the run into its directory as Slurm job arrays, for sites that allow no daemon.")
@click.option("--engine", metavar="FILE", help="With --slurm-array: the site file that says what the jobs ask for.")
@json_option
def plan(
    pipeline: str, overlays: Any, overrides: Any, out: str | None, selection: Any, verify: bool, slurm_array: bool, engine: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Count what a run of PIPELINE would do: what is up to date, what would run, what depends on it."""
    checked = load(pipeline, overlays, overrides)
    if slurm_array or engine:
        if not (slurm_array and engine):
            raise click.UsageError("--slurm-array needs --engine FILE with what the jobs ask for, and --engine is for --slurm-array alone")
        _write_array(checked, Path(out) if out else Path("runs") / checked.name, selection, engine, as_json)
        return
    from ..core.plan import Plan, State
    from ..core.store import Store

    root = Path(out) if out else Path("runs") / checked.name
    made = Plan(checked, Store(root), selection, verify=verify)
    counts = made.preview()
    if as_json:
        tasks = [
            {"stage": t.node.name, "tile": t.tile.name if t.tile else None, "state": t.state, "key": t.key, "reason": t.reason}
            for t in made.tasks.values()
        ]
        print_json({"out": str(root), "tiles": len(made.tiles), "counts": _nested(counts), "tasks": tasks})
        return
    states = [s for s in State if any(state is s for _, state in counts)]
    rows = [[name, node.cls.name, node.cls.scope, *(counts[name, s] or "·" for s in states)] for name, node in checked.nodes.items()]
    click.echo(table(["stage", "use", "scope", *states], rows, right=range(3, 3 + len(states))))
    would = sum(n for (_, s), n in counts.items() if s is State.RUN)
    maybe = sum(n for (_, s), n in counts.items() if s is State.MAYBE)
    failing = [task for task in made.tasks.values() if task.state is State.FAILED]
    for task in failing[:3]:
        click.echo(f"{task} would fail: {plain(task.reason)}")
    click.echo(f"\n{len(made.tiles)} tiles, {counts.total()} tasks: {would} would run" + (f", {maybe} more may follow" if maybe else ""))


def _write_array(checked: Any, root: Path, selection: Any, engine: str, as_json: bool) -> None:
    """Write the plan of a run as job arrays, and say what it is."""
    from ..core.plan import Selection
    from ..engines.array.write import write_array
    from ..engines.site import read_site

    if selection != Selection():
        raise click.UsageError("job arrays run the whole pipeline; leave --from, --to, --only, --tiles, --rerun and --retry-failed out")
    site = read_site(engine)
    if site.engine != "slurm":
        raise click.UsageError(f"{engine} is for {site.engine}, and job arrays are Slurm's; give a site file with `engine: slurm`")
    made = write_array(checked, root, site)
    submit = made.folder / "submit.sh"
    if as_json:
        waves = [{"stages": w.stages, "scope": w.scope, "elements": w.elements, "tiles": w.tiles, "after": w.after} for w in made.waves]
        print_json({"out": str(root), "tiles": made.tiles, "waves": waves, "submit": str(submit)})
        return
    rows = [[w.number, ", ".join(w.stages), w.elements, w.tiles, ", ".join(map(str, w.after)) or "·"] for w in made.waves]
    click.echo(table(["wave", "stages", "elements", "tiles each", "after"], rows, right=[0, 2, 3]))
    click.echo(f"\n{made.tiles} tiles, {len(made.elements)} elements; submit them with {submit}")


def _nested(counts: Any) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (stage, state), number in counts.items():
        nested.setdefault(stage, {})[state] = number
    return nested


@click.command()
@pipeline_options
@click.option("--resolved", is_flag=True, help="Print the pipeline with every default filled in.")
@json_option
def validate(pipeline: str, overlays: Any, overrides: Any, resolved: bool, as_json: bool) -> None:
    """Check PIPELINE: settings, wiring, types, columns and files; all problems at once, each with its place."""
    from ..core.problems import PipelineError

    try:
        checked = load(pipeline, overlays, overrides)
        if not resolved and (missing := checked.missing()):
            raise PipelineError(missing)
    except PipelineError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": [p.as_json() for p in error.problems]})
        sys.exit(2)
    if resolved:
        from ..core.run_record import dump

        if as_json:
            print_json(checked.resolved())
        else:
            click.echo(dump(checked.resolved()).decode(), nl=False)
    elif as_json:
        print_json({"valid": True, "problems": []})
    else:
        edges = sum(len(node.parents()) for node in checked.nodes.values())
        click.echo(f"{pipeline}: {len(checked.nodes)} stages, {edges} edges, no problems")


@click.command()
@pipeline_options
@out_option
@click.argument("stage")
@click.argument("tile", required=False)
@json_option
def explain(pipeline: str, overlays: Any, overrides: Any, out: str | None, stage: str, tile: str | None, as_json: bool) -> None:
    """Say which part of a task's key has changed since PIPELINE was run: that of STAGE on TILE, or on the survey."""
    checked = load(pipeline, overlays, overrides)
    from ..core.explain import explain as changes_of
    from ..core.plan import Plan
    from ..core.problems import did_you_mean
    from ..core.store import Store

    root = Path(out) if out else Path("runs") / checked.name
    made = Plan(checked, Store(root))
    made.preview()
    name = None if tile == "survey" else tile
    if (stage, name) not in made.tasks:
        names = [t.name for t in made.tiles]
        if stage not in checked.nodes:
            hint = did_you_mean(stage, checked.nodes, otherwise=f"the stages are {', '.join(checked.nodes)}")
        elif checked.nodes[stage].cls.scope == "survey":
            hint = "it runs once for the survey; leave the tile out"
        else:
            hint = did_you_mean(name or "", names, otherwise=f"give one of its tiles, such as {names[0]}")
        raise click.UsageError(f"there is no task {stage}/{tile or 'survey'}; {hint}")
    task, changes = changes_of(made, stage, name)
    if as_json:
        print_json({"task": str(task), "state": task.state, "changes": changes})
        return
    click.echo(f"{task} ({task.state})")
    for change in changes:
        click.echo(f"  {plain(change)}")
