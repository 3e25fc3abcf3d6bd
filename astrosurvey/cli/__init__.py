"""The command line: one file a command group, each imported when its command is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from .. import __version__

COMMANDS = {
    "demo": "simulate a small survey, run a pipeline on it, write a report",
    "run": "run a pipeline, or resume it",
    "plan": "count what would run and what is up to date",
    "validate": "check a pipeline file without running it",
    "explain": "say why a task would run again",
    "status": "say how a run is going, from any shell",
    "cancel": "end a run, wherever it is at work",
    "task": "run one element of a run that is planned as job arrays",
    "collect": "gather what the job arrays of a run have done",
    "report": "write the HTML report of a run",
    "pack": "put the finished tasks of a run into few files",
    "unpack": "bring back the folders of packed tasks",
    "compare": "compare the catalogues of two runs",
    "stages": "list the stages, or describe one",
    "tables": "list the tables of the catalogue schema, show or compare them",
    "models": "list the built-in models",
    "plugins": "list the plugins and what is wrong with them",
    "doctor": "check this installation and this machine",
    "engine": "try a site file on its batch system, or show its job scripts",
    "new": "write a pipeline for a FITS file, or a plugin package",
}
"""Command -> help. It stands here so that `--help` imports nothing."""

_MODULES = {
    "demo": "demo",
    "run": "run",
    "plan": "plan",
    "validate": "plan",
    "explain": "plan",
    "status": "status",
    "cancel": "cancel",
    "task": "task",
    "collect": "collect",
    "report": "report",
    "pack": "pack",
    "unpack": "pack",
    "compare": "compare",
    "stages": "inspect",
    "tables": "tables",
    "models": "inspect",
    "plugins": "inspect",
    "doctor": "doctor",
    "engine": "engine",
    "new": "new",
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called, plugins' commands included."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _MODULES:
            module = importlib.import_module(f".{_MODULES[name]}", __name__)
            command: click.Command = getattr(module, name)
            return command
        from ..plugins import load

        return load().commands.get(name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from ..core.problems import did_you_mean

            near = did_you_mean(args[0], COMMANDS, otherwise="`astrosurvey --help` lists the commands")
            raise click.UsageError(f"{error.message.rstrip('.')}; {near}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="astrosurvey")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run survey images, cubes, spectra and catalogues through a graph of plugin stages.

    Begin with `astrosurvey demo`.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line; the exit status is an `ExitCode`."""
    try:
        code = cli.main(prog_name="astrosurvey", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
        _as_json(code, [{"message": error.format_message()}])
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:
        code = 141
    except Exception as error:
        code = _explain(error)
        problems = getattr(error, "problems", None)
        _as_json(code, [p.as_json() for p in problems] if problems else [{"message": f"{error}"}])
    sys.exit(code if isinstance(code, int) else 0)


def _as_json(code: int, problems: list[dict[str, Any]]) -> None:
    """Print an error for the program that asked for JSON; people read it on standard error."""
    if "--json" in sys.argv:
        import json

        click.echo(json.dumps({"exit_code": int(code), "problems": problems}, indent=2))


def _explain(error: Exception) -> int:
    """Say what went wrong; return the exit status it means."""
    from ..core.fulldisk import errno_of_full, said_of
    from ..core.run import ExitCode

    kind = type(error).__name__
    if kind == "PipelineError":
        for problem in error.problems:  # type: ignore[attr-defined]
            click.echo(f"error: {problem}", err=True)
        return ExitCode.USAGE
    if {"EngineError", "NoDevice", "DataError", "Stop", "ArrayError"} & {cls.__name__ for cls in type(error).__mro__}:
        click.echo(f"error: {error}", err=True)
        return ExitCode.USAGE
    if kind == "LockHeld":
        click.echo(f"error: {error}", err=True)
        return ExitCode.STOPPED
    if isinstance(error, OSError) and (full := errno_of_full(error)):
        click.echo(f"error: {said_of(full)} {error.filename or 'the disk'}; make room and run the same command again", err=True)
        return ExitCode.STOPPED
    if isinstance(error, OSError) and error.filename is not None:
        click.echo(f"error: {error.filename}: {error.strerror}", err=True)
        return ExitCode.USAGE
    import traceback

    traceback.print_exception(error)
    click.echo(f"error: this is a bug in astrosurvey ({kind}: {error}); please report it with the lines above", err=True)
    return ExitCode.BUG
