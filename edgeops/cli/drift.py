"""`edgeops drift`: whether the world still looks like what a model learnt from, in words and pictures for people."""

import sys
from collections.abc import Sequence
from itertools import islice
from typing import Annotated

import typer

from edgeops.api.client import Client
from edgeops.api.shapes import ChannelDrift, Drift, DriftFinding, EstimatedError
from edgeops.cli import completion
from edgeops.cli.connection import connected
from edgeops.cli.options import AsJson, Limit
from edgeops.cli.output import abridged, print_json, print_table, printable
from edgeops.cli.reference import parse_model_version
from edgeops.drift.finding import Kind, Verdict
from edgeops.drift.movement import Movement
from edgeops.exits import Exit

app = typer.Typer(help="Whether the world still looks like what a model learnt from.", no_args_is_help=True)

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL[@VERSION]",
        autocompletion=completion.models_or_versions,
        help="A model where it runs now, or one version of it.",
    ),
]
Deployment = Annotated[str | None, typer.Option(autocompletion=completion.deployments, help="Only in this deployment.")]
Device = Annotated[
    str | None, typer.Option(autocompletion=completion.devices, help="Of single devices, only this one.")
]
All = Annotated[bool, typer.Option("--all", help="Show every channel, also those that did not move.")]

#: Channels that did not move and are shown beside those that did.
_SHOWN_CALM = 4
_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-:=+*#"
#: Characters of a small histogram.
_SPARK_WIDTH = 16

_EXITS = {Verdict.STABLE: Exit.OK, Verdict.DRIFT: Exit.GATE, Verdict.NOT_ENOUGH_EVIDENCE: Exit.EVIDENCE}
_SAYS = {
    Movement.HIGHER: "reads higher than in training",
    Movement.LOWER: "reads lower than in training",
    Movement.WIDER: "spreads wider than in training",
    Movement.NARROWER: "varies less than in training",
    Movement.MIX: "answers come in another mix than in training",
}
_HEADLINES = {
    Verdict.STABLE: "STABLE: the world looks as in training",
    Verdict.DRIFT: "DRIFT: the world has changed",
    Verdict.NOT_ENOUGH_EVIDENCE: "NOT ENOUGH EVIDENCE: too little was seen to say whether the world has changed",
}
_QUALITY_HEADLINE = "DRIFT of data quality: readings cannot be trusted"
_LOCAL_HEADLINE = "DRIFT of one device: it sees another world than its siblings"


@app.command()
@connected
def check(
    client: Client,
    model: Model,
    *,
    deployment: Deployment = None,
    device: Device = None,
    all_: All = False,
    as_json: AsJson = False,
) -> None:
    """Judge every window that came until now; exit 0 stable, 8 drift, 10 not enough evidence to say."""
    name, version = _parse(model)
    drift = client.check_drift(name, version=version, deployment=deployment, device=device)
    _print(drift, every_channel=all_, as_json=as_json)
    raise typer.Exit(_EXITS[Verdict(drift.verdict)])


@app.command()
@connected
def show(
    client: Client,
    model: Model,
    *,
    deployment: Deployment = None,
    device: Device = None,
    all_: All = False,
    as_json: AsJson = False,
) -> None:
    """What was found last: in words, with the channels that moved, and what to do next."""
    name, version = _parse(model)
    _print(
        client.drift(name, version=version, deployment=deployment, device=device), every_channel=all_, as_json=as_json
    )


@app.command()
@connected
def history(
    client: Client,
    model: Model,
    *,
    deployment: Deployment = None,
    device: Device = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Everything that was ever found, the latest first; a finding lasts while judgements say the same."""
    name, version = _parse(model)
    found = list(islice(client.drift_history(name, version=version, deployment=deployment, device=device), limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("from", "last judged", "model", "deployment", "of", "verdict", "kinds", "drifted channels", "rows>"),
        [
            (
                one.first_at,
                one.last_at,
                f"{one.model}@{one.version}",
                one.deployment,
                one.device_id or "all devices",
                one.verdict,
                ", ".join(one.kinds) or None,
                abridged(one.drifted),
                one.rows,
            )
            for one in found
        ],
        empty="nothing was found yet; devices that run the model send windows, and each is judged as it comes",
    )


def _parse(text: str) -> tuple[str, int | None]:
    if "@" not in text:
        return text, None
    reference = parse_model_version(text)
    return reference.model, reference.version


def _print(drift: Drift, *, every_channel: bool, as_json: bool) -> None:
    if as_json:
        print_json(drift)
        return
    if not drift.findings:
        _say(_HEADLINES[Verdict(drift.verdict)])
        _say(drift.reason)
        return
    for place, finding in enumerate(drift.findings):
        if place:
            print()
        _print_finding(finding, every_channel=every_channel)


def _print_finding(finding: DriftFinding, *, every_channel: bool) -> None:
    verdict = Verdict(finding.verdict)
    where = f"{finding.model}@{finding.version} in deployment {finding.deployment}"
    if finding.device_id is not None:
        where += f", device {finding.device_id}"
    _say(_headline(finding, verdict))
    _say(f"{where}, since {finding.first_at.astimezone():%Y-%m-%d %H:%M:%S}")
    _say(finding.reason)
    if finding.estimated_accuracy is not None:
        _say(f"expected accuracy now: {finding.estimated_accuracy:.1%} (an estimate from the model's own certainty)")
    if finding.estimated_error is not None:
        _say(_expected_error(finding.estimated_error))
    for issue in finding.quality:
        _say(f"channel {issue.channel}: {issue.fault}: {issue.detail}")
    _print_channels(finding.channels or (), verdict, local=finding.device_id is not None, every_channel=every_channel)
    steps = _next_steps(finding, verdict)
    if steps:
        print()
    for line in steps:
        _say(line)


def _expected_error(error: EstimatedError) -> str:
    units = f" {error.units}" if error.units else ""
    before = f"{error.evaluation_mae:.4g}{units} on the evaluation set"
    if error.mae is None:
        return f"expected mean error now: unknown, for {error.unknown_because}; {before}"
    return f"expected mean error now: {error.mae:.4g}{units}, {before} (an estimate from the mix of answers alone)"


def _headline(finding: DriftFinding, verdict: Verdict) -> str:
    if verdict is Verdict.DRIFT and not finding.drifted and finding.quality:
        return _QUALITY_HEADLINE
    if verdict is Verdict.DRIFT and finding.device_id is not None:
        return _LOCAL_HEADLINE
    return _HEADLINES[verdict]


def _print_channels(channels: Sequence[ChannelDrift], verdict: Verdict, *, local: bool, every_channel: bool) -> None:
    """Sorted by D; those that did not move only as far as they help to compare."""
    ordered = sorted(channels, key=lambda one: (not one.drifted, -one.distance))
    moved = sum(one.drifted for one in ordered)
    shown = ordered if every_channel else ordered[: moved + _SHOWN_CALM]
    if not shown:
        return
    print()
    print_table(
        ("channel", "D>", "matters from>", "chance>", "in training", "now", ""),
        [
            (
                one.name,
                *_numbers(one, verdict),
                *_sparks(one.reference_histogram, one.window_histogram),
                _says(one, verdict, local=local),
            )
            for one in shown
        ],
    )
    if len(shown) < len(ordered):
        _say(f"... and {len(ordered) - len(shown)} more; see them with --all")


def _numbers(channel: ChannelDrift, verdict: Verdict) -> tuple[str | None, str, str | None]:
    """D, the D that matters, and how often chance shows as much; without a judgement there is nothing to tell."""
    floor = f"{channel.floor:.2f}"
    if verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        return None, floor, None
    return f"{channel.distance:.2f}", floor, _chance(channel.p_value)


def _says(channel: ChannelDrift, verdict: Verdict, *, local: bool) -> str:
    if channel.drifted:
        return _SAYS.get(Movement(channel.movement), "moved")
    if verdict is Verdict.NOT_ENOUGH_EVIDENCE:
        return "too little to say"
    if channel.distance < channel.floor:
        return "as in training"
    return "not apart from its siblings" if local else "differs, not proven"


def _chance(p_value: float) -> str:
    """How often such a distance comes about without drift."""
    if p_value >= 0.01:
        return f"{p_value:.0%}"
    return "< 1 in 1,000,000" if p_value < 1e-6 else f"1 in {1 / p_value:,.0f}"


def _sparks(reference: Sequence[int], window: Sequence[int]) -> tuple[str, str]:
    """Both histograms as text, on one scale; bins behind the last one in use are left out."""
    used = max((place + 1 for place, pair in enumerate(zip(reference, window, strict=True)) if any(pair)), default=0)
    shares = [_coarse(counts[:used]) for counts in (reference, window)]
    top = max((share for each in shares for share in each), default=0.0)
    bars = _BARS if _can_show(_BARS) else _ASCII_BARS
    first, second = ("".join(bars[round(share / top * 7)] if top else bars[0] for share in each) for each in shares)
    return first, second


def _coarse(counts: Sequence[int]) -> list[float]:
    """Shares, with neighbouring bins taken together where there are many."""
    total = sum(counts) or 1
    width = -(-len(counts) // _SPARK_WIDTH) or 1
    return [sum(counts[start : start + width]) / total for start in range(0, len(counts), width)]


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _next_steps(finding: DriftFinding, verdict: Verdict) -> tuple[str, ...]:
    if Kind.QUALITY in finding.kinds:
        return ("next: look at that sensor first; nothing is learnt from readings that cannot be trusted",)
    if verdict is not Verdict.DRIFT:
        return ()
    if finding.class_mix_only:
        return ("next: if you expected another mix of answers, do nothing; else look at what the devices see",)
    if finding.device_id is not None:
        option = f" --channel {finding.drifted[0]}" if finding.drifted else ""
        return (f"next: look at the device: edgeops devices telemetry {finding.device_id}{option}",)
    return (
        f"next: see what the loop does about it: edgeops retrain history {finding.model}",
        f"      or start it yourself: edgeops retrain run {finding.model}",
    )


def _say(text: str) -> None:
    print(printable(text))
