"""`edgeops demo`: one real pass from data to predictions on devices, and back, with every figure."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from shutil import rmtree
from typing import Annotated

import typer
from rich.console import Console

from edgeops.cli.live import say
from edgeops.cli.options import AsJson
from edgeops.cli.output import print_json, print_table, size
from edgeops.cli.up import end_on_signals
from edgeops.errors import ServerError
from edgeops.local import demo as steps
from edgeops.local.demo import Report, Stopwatch
from edgeops.local.scenarios import digits
from edgeops.local.up import Site


class Scenario(StrEnum):
    """What the demo shows."""

    #: A camera that reads handwritten digits.
    DIGITS = digits.NAME


def demo(
    scenario: Annotated[Scenario, typer.Option(help="What to show.")] = Scenario.DIGITS,
    seed: Annotated[int, typer.Option(min=0, help="Decides the split and the training.")] = 7,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder.  [default: a fresh one, removed at the end]")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the fresh folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train, quantize, sign, roll out to three agents, replay held-out rows, score what they answered."""
    end_on_signals()
    with ExitStack() as endings:
        folder = endings.enter_context(_folder(data, keep=keep))
        say(f"scenario {scenario}, seed {seed}, data in {folder}")
        watch = Stopwatch(begins=endings.enter_context(_present_phase()), ended=say)
        with watch.phase("start") as note:
            site = endings.enter_context(Site(folder, warm=True, say=say))
            note(f"{len(site.agents)} agents online")
        report = steps.run(site, seed=seed, watch=watch)
        if as_json:
            print_json(asdict(report))
        else:
            _print(report)
        if not report.passed:
            raise ServerError(f"only {report.joined} of {report.rows} rows were answered by the committed model")


@contextmanager
def _present_phase() -> Iterator[Callable[[str], None]]:
    """A function that shows what is going on; on a terminal only, in one line that goes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield status.update


@contextmanager
def _folder(data: Path | None, *, keep: bool) -> Iterator[Path]:
    """The folder named, or a fresh one that goes when all went well."""
    if data is not None:
        yield data
        return
    fresh = Path(tempfile.mkdtemp(prefix="edgeops-demo-"))
    try:
        yield fresh
    except Exception:
        if not any(fresh.iterdir()):
            fresh.rmdir()
            raise
        say(f"what happened is in {fresh / 'run/logs'}; remove {fresh} when you have seen it")
        raise
    except BaseException:
        rmtree(fresh)
        raise
    if keep:
        say(f"kept: {fresh}; look around with `edgeops up --data {fresh}`")
    else:
        rmtree(fresh)


def _print(report: Report) -> None:
    judged = {name: one.accuracy for name, one in report.artifacts.items()}
    print(f"\n{report.model} on {len(report.devices)} devices, rollout {report.state}, seed {report.seed}\n")
    print_table(
        ("accuracy", "of", "rows>", "value>"),
        [
            *(("on the server", name, report.rows, _percent(value)) for name, value in judged.items()),
            *(
                ("published by", one.device, f"{one.joined}/{one.rows}", _percent(one.accuracy))
                for one in report.devices
            ),
            ("published by", "all devices", f"{report.joined}/{report.rows}", _percent(report.accuracy)),
        ],
    )
    print()
    print_table(
        ("size", "tflite>", "artifact>"),
        [(name, f"{one.tflite_bytes:,} B", f"{one.size_bytes:,} B") for name, one in report.artifacts.items()],
    )
    print()
    print_table(
        ("device", "pid>", "update>", "windows>", "rows in windows>", "bytes per window>"),
        [
            (
                one.device,
                one.pid,
                size(one.update_bytes),
                one.windows,
                one.window_rows,
                round(one.telemetry_bytes / one.windows) if one.windows else None,
            )
            for one in report.devices
        ],
    )
    print()
    print_table(
        ("phase", "seconds>"),
        [*((name, f"{seconds:.1f}") for name, seconds in report.phases.items()), ("all", f"{report.seconds:.1f}")],
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"
