"""The commands put together, and the one place where an error becomes a line and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from edgeops import __version__
from edgeops.cli import (
    apply,
    audit,
    backup,
    bash,
    benchmark,
    dataset,
    demo,
    devices,
    drift,
    group,
    incident,
    job,
    key,
    label,
    lineage,
    model,
    pipeline,
    publish,
    quarantine,
    recipe,
    reproduce,
    retrain,
    rollout,
    runs,
    telemetry,
    token,
    train,
    up,
    webhook,
    why,
)
from edgeops.cli.output import printable
from edgeops.errors import EdgeOpsError
from edgeops.exits import Exit, exit_code

_DEBUG = "EDGEOPS_DEBUG"

app = typer.Typer(
    help="Keep machine-learning models on a fleet of small devices right, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.add_typer(dataset.app, name="dataset")
app.add_typer(recipe.app, name="recipe")
app.command("train")(train.train)
app.add_typer(runs.app, name="run")
model.app.command("history")(lineage.history)
model.app.command("lineage")(lineage.lineage)
model.app.command("diff")(lineage.diff)
app.add_typer(model.app, name="model")
app.command("reproduce")(reproduce.reproduce)
app.command("publish")(publish.publish)
app.add_typer(pipeline.app, name="pipeline")
app.command("benchmark")(benchmark.benchmark)
app.add_typer(rollout.app, name="rollout")
app.add_typer(drift.app, name="drift")
app.add_typer(label.app, name="label")
app.add_typer(retrain.app, name="retrain")
app.add_typer(devices.app, name="devices")
app.add_typer(group.app, name="group")
app.command("why")(why.why)
app.command("apply")(apply.apply)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(incident.app, name="incident")
app.add_typer(telemetry.app, name="telemetry")
app.add_typer(job.app, name="job")
app.add_typer(key.app, name="key")
app.add_typer(token.app, name="token")
app.add_typer(audit.app, name="audit")
app.add_typer(webhook.app, name="webhook")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgeops {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", envvar=_DEBUG, help="Show where an error comes from.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback ends the program
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ[_DEBUG] = "1"


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    bash.mend_words(os.environ)
    try:
        app(list(arguments), prog_name="edgeops")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(Exit.FAILED)
    except EdgeOpsError as error:
        if os.environ.get(_DEBUG):
            traceback.print_exc()
        # A reason may quote what a device said.
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return exit_code(error)
    return Exit.OK
