"""`edgeops benchmark`: have a device try a published version without installing it."""

from collections.abc import Sequence
from typing import Annotated

import typer

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Benchmark, BenchmarkResult
from edgeops.artifact.manifest import Variant
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.live import say
from edgeops.cli.options import AsJson, Reference, Timeout
from edgeops.cli.output import print_facts, print_json, print_table, printable, size
from edgeops.errors import ServerError
from edgeops.exits import GateRefusedError
from edgeops.rollout.blessing import Outcome


@connected
def benchmark(
    client: Client,
    model: Reference,
    *,
    device: Annotated[
        str,
        typer.Option(metavar="DEVICE", autocompletion=completion.devices, help="Which device tries it."),
    ],
    variant: Annotated[Variant, typer.Option(help="Which artifact of the version.")] = Variant.INT8,
    deployment: Annotated[
        str | None,
        typer.Option(autocompletion=completion.deployments, help="Whose source the model must fit as well."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer; exit 8 when it refuses.")] = True,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Have a device try a published version beside what it runs: right answers, time, memory and heat."""
    asked = client.benchmarks.ask(model.model, model.version, variant=variant, device=device, deployment=deployment)
    if wait:
        asked = client.benchmarks.wait(asked.id, on_change=_tell, timeout=timeout or limits.BENCHMARK_LIFE)
    print_json(asked) if as_json else _print(asked)
    match asked.outcome:
        case Outcome.REFUSED:
            raise GateRefusedError(f"{asked.device_id} does not bless {model} {variant}: {asked.detail}")
        case Outcome.INCONCLUSIVE:
            raise ServerError(f"{asked.device_id} could not try {model} {variant}: {asked.detail}")


def print_benchmarks(benchmarks: Sequence[Benchmark]) -> None:
    """What devices measured, if any did."""
    if not benchmarks:
        return
    print_table(
        ("benchmark", "variant", "device", "class", "p50 ms>", "p95 ms>", "p99 ms>", "memory>", "outcome"),
        [
            (
                one.ended_at or "asked",
                one.variant,
                one.device_id,
                one.device_class,
                *_milliseconds(one.result),
                size(one.result.memory_bytes) if one.result and one.result.inferences else None,
                one.outcome or "no answer yet",
            )
            for one in benchmarks
        ],
    )


def _tell(one: Benchmark) -> None:
    if one.ended_at is None:
        doing = f"{one.device_id} tries it" if one.repeated_at else f"waits for {one.device_id} to come online"
        say(f"benchmark {one.id}: {doing}")


def _print(one: Benchmark) -> None:
    result = one.result
    measured = result if result is not None and result.inferences else None
    p50, p95, p99 = _milliseconds(measured)
    print_facts(
        {
            "benchmark": one.id,
            "model": f"{one.model}@{one.version} {one.variant}",
            "device": one.device_id,
            "class": printable(one.device_class),
            "outcome": one.outcome or "no answer yet",
            "because": printable(one.detail) or None,
            "runtime": None if result is None else printable(f"{result.runtime} {result.runtime_version}"),
            "inferences": None if measured is None else measured.inferences,
            "p50 ms": p50,
            "p95 ms": p95,
            "p99 ms": p99,
            "memory": None if measured is None else size(measured.memory_bytes),
            "processor": None if measured is None else _heat(measured),
        }
    )


def _milliseconds(result: BenchmarkResult | None) -> tuple[float | None, float | None, float | None]:
    if result is None or not result.inferences:
        return None, None, None
    return result.latency_p50_us / 1000, result.latency_p95_us / 1000, result.latency_p99_us / 1000


def _heat(result: BenchmarkResult) -> str:
    """What is not known is said so."""
    before, after = result.millicelsius_before, result.millicelsius_after
    warm = "temperature unknown" if before is None or after is None else f"{before / 1000:g} to {after / 1000:g} C"
    throttled = {None: "throttling unknown", False: "not throttled", True: "throttled"}[result.throttled]
    return f"{warm}, {throttled}"
