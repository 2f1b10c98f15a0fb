"""`edgeops demo`: data to predictions on devices, then the world changes and the fleet heals; with every figure."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edgeops.cli.evidence import print_findings
from edgeops.cli.live import say
from edgeops.cli.options import AsJson
from edgeops.cli.output import print_json, print_table, size
from edgeops.cli.up import end_on_signals
from edgeops.errors import InputError, ServerError
from edgeops.local.stopwatch import Stopwatch
from edgeops.local.up import MAX_AGENTS, Site

if TYPE_CHECKING:  # they import numpy, which no other command needs
    from edgeops.api.shapes import Version
    from edgeops.local.circle import Circle
    from edgeops.local.course import Course
    from edgeops.local.demo import Report
    from edgeops.local.proof import Stopped
    from edgeops.local.scenarios.scenario import Scenario

#: In how many stretches `--control` plays what the first model knows.
_CONTROL_STAGES = 6


class ScenarioName(StrEnum):
    """What the demo shows."""

    #: A camera that reads handwritten digits; its lens gets dirty.
    DIGITS = "digits"
    #: Chemical sensors that age over 30 months.
    GAS = "gas"
    #: The same camera, and a model that passes every check and is wrong.
    BAD_MODEL = "bad-model"


#: Labels that are bought per stage unless told otherwise.
_LABELS = {ScenarioName.DIGITS: 30, ScenarioName.GAS: 60}


def demo(  # noqa: PLR0917 - typer reads options from parameters
    scenario: Annotated[ScenarioName, typer.Option(help="What to show.")] = ScenarioName.DIGITS,
    data: Annotated[
        Path | None, typer.Option("--data", help="Where the scenario's rows are; gas: the folder of gas_drift.npz.")
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option("--labels", min=1, max=1000, help="Labels to buy per change.  [default: gas 60, digits 30]"),
    ] = None,
    random_share: Annotated[
        float, typer.Option("--random-share", min=0.0, max=1.0, help="Share of them that is drawn at random.")
    ] = 0.2,
    control: Annotated[
        bool, typer.Option("--control", help="Play what the first model knows instead: nothing may happen.")
    ] = False,
    agents: Annotated[int, typer.Option("--agents", min=3, max=MAX_AGENTS, help="Devices.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Decides the split, the training and the order of rows.")] = 7,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Write PATH.svg and PATH.png.  [default: demo-<scenario> in this folder]"),
    ] = None,
    site: Annotated[
        Path | None, typer.Option("--site", help="The fleet's folder.  [default: a fresh one, removed at the end]")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the fresh folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train, quantize, sign and roll out to agents; then the world changes, and the fleet sees it and heals."""
    # Here, because they import numpy, which no other command needs.
    from edgeops.local import demo as first_pass  # noqa: PLC0415
    from edgeops.local.circle import Circle  # noqa: PLC0415

    end_on_signals()
    if scenario is ScenarioName.BAD_MODEL:
        if data is not None or labels is not None or control or picture is not None:
            raise InputError("the bad-model scenario takes --agents, --seed, --site, --keep and --json only")
        _prove(agents=agents, seed=seed, site=site, keep=keep, as_json=as_json)
        return
    world = _world(scenario, data)
    wanted = _LABELS[scenario] if labels is None else labels
    started = time.monotonic()
    with ExitStack() as endings:
        folder = endings.enter_context(_folder(site, keep=keep))
        say(f"scenario {scenario}, seed {seed}, fleet in {folder}")
        watch = Stopwatch(begins=endings.enter_context(_present_phase()), ended=say)
        with watch.phase("start") as note:
            running = endings.enter_context(Site(folder, agents=agents, warm=True, say=say))
            note(f"{len(running.agents)} agents online")
        report = first_pass.run(running, world, seed=seed, watch=watch)
        digest = report.artifacts[first_pass.VARIANT].digest
        circle = Circle(
            site=running,
            scenario=world,
            labels=wanted,
            random_share=random_share,
            seed=seed,
            folder=Path(endings.enter_context(tempfile.TemporaryDirectory(prefix="artifacts-", dir=folder))),
            first=digest,
            active=digest,
        )
        course = _live(circle, world, seed=seed, control=control, watch=watch)
        loop = course.document(report, circle, seconds=time.monotonic() - started)
        if as_json:
            print_json(loop if scenario is ScenarioName.GAS else {**asdict(report), "loop": loop})
        else:
            _print(report)
            _print_course(course)
        if course.stages:
            from edgeops.local.picture import draw  # noqa: PLC0415 - as above, and matplotlib behind it

            title = f"{world.name}: {wanted} labels per change, {agents} devices"
            stem = picture or Path(f"demo-{scenario}")
            say("picture: " + ", ".join(str(path) for path in draw(course.stages, title=title, stem=stem)))
        if not report.passed:
            raise ServerError(f"only {report.joined} of {report.rows} rows were answered by the committed model")
        course.require_shown()


def _prove(*, agents: int, seed: int, site: Path | None, keep: bool, as_json: bool) -> None:
    """A bad model is stopped by the canary."""
    from edgeops.local import proof  # noqa: PLC0415 - as in `demo`
    from edgeops.local.scenarios.digits import Digits  # noqa: PLC0415

    started = time.monotonic()
    with ExitStack() as endings:
        folder = endings.enter_context(_folder(site, keep=keep))
        say(f"scenario {ScenarioName.BAD_MODEL}, seed {seed}, fleet in {folder}")
        watch = Stopwatch(begins=endings.enter_context(_present_phase()), ended=say)
        with watch.phase("start") as note:
            running = endings.enter_context(Site(folder, agents=agents, warm=True, say=say))
            note(f"{len(running.agents)} agents online")
        stopped = proof.run(running, Digits(), seed=seed, watch=watch)
        if as_json:
            print_json(stopped.document(seconds=time.monotonic() - started))
        else:
            _print_stopped(stopped)
        stopped.require_shown()


def _print_stopped(stopped: "Stopped") -> None:
    from edgeops.local.proof import stated  # noqa: PLC0415 - as in `demo`

    print()
    print_table(
        ("version", "right on rows it never saw>", "runs on"),
        [
            (_named(stopped.good), _percent(stated(stopped.good)), f"{stopped.restored} of {stopped.devices} devices"),
            (_named(stopped.bad), _percent(stated(stopped.bad)), f"none; {stopped.asked} asked"),
        ],
    )
    print()
    print_findings(stopped.evidence)
    if stopped.wave is not None:
        print(f"\nstopped in wave {stopped.wave.position + 1}: {stopped.wave.words}")


def _named(version: "Version") -> str:
    return f"{version.model}@{version.version}"


def _world(name: ScenarioName, data: Path | None) -> "Scenario":
    match name:
        case ScenarioName.GAS:
            from edgeops.local.scenarios.gas import Gas  # noqa: PLC0415 - as in `demo`

            if data is None:
                raise InputError(
                    "the gas scenario plays data that you bring: name the folder of gas_drift.npz with --data"
                )
            return Gas(data)
        case ScenarioName.DIGITS:
            from edgeops.local.scenarios.digits import Digits  # noqa: PLC0415 - as in `demo`

            if data is not None:
                raise InputError("the digits come with scikit-learn; --data is for the gas scenario")
            return Digits()
        case ScenarioName.BAD_MODEL:
            raise AssertionError("it is no world that changes")


def _live(circle: "Circle", world: "Scenario", *, seed: int, control: bool, watch: Stopwatch) -> "Course":
    """What nothing may come of, then the stages; with `control`, more of the former instead."""
    from edgeops.local.course import Course  # noqa: PLC0415 - as in `demo`

    with watch.phase("delegate"):
        circle.begin()
    figures = []
    since = datetime.now(UTC)
    if not control:
        with watch.phase("control") as note:
            calm = circle.stay(world.control(seed))
            note(f"{calm.windows} windows, {calm.alarms} alarms")
    for stage in world.control(seed).parts(_CONTROL_STAGES) if control else world.stages(seed):
        with watch.phase(str(stage.name) if isinstance(stage.name, str) else f"batch {stage.name}") as note:
            figures.append(circle.live_through(stage))
            note(figures[-1].in_words())
    if control:
        return Course(stages=(), control=circle.control(since))
    return Course(stages=tuple(figures), control=calm)


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
def _folder(site: Path | None, *, keep: bool) -> Iterator[Path]:
    """The folder named, or a fresh one that goes when all went well."""
    if site is not None:
        yield site
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


def _print(report: "Report") -> None:
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


def _print_course(course: "Course") -> None:
    print(f"\ncontrol: {course.control.windows} windows of the world as it was, {course.control.alarms} false alarms")
    if not course.stages:
        return
    print()
    print_table(
        ("change", "static>", "before>", "after>", "verdict", "labels>", "up/device>", "update/device>", "seconds>"),
        [
            (
                one.stage,
                _percent(one.static),
                _percent(one.before),
                _percent(one.after),
                "drift" if one.drift else "no drift",
                one.labels,
                size(round(one.telemetry_bytes_per_device)),
                size(round(one.update_bytes_per_device)),
                f"{one.seconds:.1f}",
            )
            for one in course.stages
        ],
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"
