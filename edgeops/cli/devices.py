"""`edgeops devices`: which agents there are, what they run, say and answer."""

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated
from urllib.parse import urlsplit

import typer

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import Device, TelemetryWindow
from edgeops.cli import pin as pinning
from edgeops.cli.connection import connected
from edgeops.cli.live import confirm, say
from edgeops.cli.options import AsJson, DeviceId, Limit, OfDeployment, parse_moment
from edgeops.cli.output import print_facts, print_json, print_table, printable, short_digest, size
from edgeops.cli.telemetry import in_words
from edgeops.trust.transport import is_loopback

app = typer.Typer(help="Enrolled devices.", no_args_is_help=True)


@app.command("list")
@connected
def list_(client: Client, as_json: AsJson = False) -> None:
    """All devices and what they run."""
    devices = list(client.devices())
    if as_json:
        print_json(devices)
        return
    print_table(
        ("device", "name", "presence", "deployments", "last seen"),
        [(one.id, one.name, _presence(one), _running(one), one.last_seen_at) for one in devices],
        empty="no devices; enrol one with a token: edgeops devices token",
    )
    _tell_of_restoration(client)


@app.command()
@connected
def show(client: Client, device: DeviceId, as_json: AsJson = False) -> None:
    """One device: facts, deployments, what it shall run."""
    found = client.device(device)
    if as_json:
        print_json(found)
        return
    facts = found.facts
    print_facts(
        {
            "device": found.id,
            "name": found.name,
            "presence": _presence(found),
            "agent": found.agent_version or None,
            "labels": ", ".join(f"{key}={value}" for key, value in sorted(found.labels.items())) or None,
            "enrolled": found.enrolled_at,
            "last seen": found.last_seen_at,
            "machine": f"{facts.arch}, Python {facts.python}, {facts.runtime} {facts.runtime_version}"
            if facts
            else None,
            "board": printable(facts.board) or None if facts else None,
            "memory": size(facts.memory_bytes) if facts else None,
            "disk free": size(facts.disk_free_bytes) if facts else None,
            "counters": ", ".join(f"{key} {count}" for key, count in sorted(found.counters.items())) or None,
            "not carried out": found.detail or None,
        }
    )
    wanted = {one.deployment: one.digest for one in found.desired}
    print_table(
        ("deployment", "state", "runs", "shall run", "reason"),
        [
            (
                one.deployment,
                one.state,
                short_digest(one.active) or "no model",
                short_digest(wanted.get(one.deployment)),
                "; ".join(part for part in (one.hold, one.detail) if part)
                or (one.reason if one.reason != "none" else None),
            )
            for one in found.deployments
        ],
        empty="no deployments; on the device: edgeops-agent replay FILE --deployment NAME",
    )


@app.command()
@connected
def telemetry(
    client: Client,
    device: DeviceId,
    *,
    deployment: OfDeployment = None,
    from_: Annotated[
        datetime | None, typer.Option("--from", parser=parse_moment, metavar="MOMENT", help="Closed at or after this.")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", parser=parse_moment, metavar="MOMENT", help="Closed before this.")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel, with its histogram.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Windows of a device: counts, latency and a summary of each watched channel."""
    found = client.telemetry(device, deployment=deployment, since=from_, until=to, channel=channel)
    windows = list(islice(found, limit))
    if as_json:
        print_json(windows)
        return
    raises_alarms = any(one.alarms is not None for one in windows)
    print_table(
        (
            "closed",
            "deployment",
            "digest",
            "phase",
            "rows>",
            "errors>",
            "dropped>",
            "p50 us>",
            "p95 us>",
            *(("alarms>", "in alarm>") if raises_alarms else ()),
            "bytes>",
            "channels>",
        ),
        [
            (
                one.closed_at,
                one.deployment,
                short_digest(one.digest),
                one.phase,
                one.rows,
                one.errors,
                one.dropped,
                one.latency_p50_us,
                one.latency_p95_us,
                *(_alarms(one) if raises_alarms else ()),
                one.record_bytes,
                len(one.channels),
            )
            for one in windows
        ],
        empty="no windows",
    )
    if channel is not None:
        print_table(
            ("closed", "channel", "count>", "missing>", "mean>", "std>", "min>", "max>"),
            [
                (one.closed_at, each.name, each.count, each.missing, each.mean, each.std, each.min, each.max)
                for one in windows
                for each in one.channels
            ],
        )


def _alarms(window: TelemetryWindow) -> tuple[int | None, str | None]:
    """How many, and for how long; of a model that raises some."""
    return window.alarms, None if window.alarm_ms is None else f"{window.alarm_ms / 1000:.1f} s"


@app.command()
@connected
def predictions(
    client: Client,
    device: DeviceId,
    *,
    deployment: OfDeployment = None,
    digest: Annotated[str | None, typer.Option(help="Only by the artifact with this digest.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest of each deployment.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Answers that a device published."""
    found = client.latest_predictions(device) if latest else client.predictions(device, deployment, digest)
    answers = list(islice(found, limit))
    if as_json:
        print_json(answers)
        return
    print_table(
        ("answered", "deployment", "digest", "input", "answer>", "confidence>"),
        [
            (
                one.answered_at,
                one.deployment,
                short_digest(one.digest),
                one.input_id,
                in_words(one),
                one.confidence,
            )
            for one in answers
        ],
        empty="no predictions",
    )


@app.command()
@connected
def token(
    client: Client,
    *,
    count: Annotated[int, typer.Option(min=1, max=limits.ENROLMENT_TOKENS_AT_ONCE, help="One token a device.")] = 1,
    as_json: AsJson = False,
) -> None:
    """One-time tokens, each enrols one device."""
    tokens = client.enrolment_tokens(count)
    if as_json:
        print_json(tokens)
        return
    for one in tokens:
        print(one.token)
    say(
        f"on the device, until {tokens[0].expires_at:%H:%M} UTC: "
        f"edgeops-agent enrol {_for_devices(client)} --token TOKEN --name NAME"
    )


@app.command()
@connected
def remove(
    client: Client,
    device: DeviceId,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can answer.")] = False,
) -> None:
    """Take a device out of the fleet for good: its keys and its broker account are revoked; its history stays."""
    if not yes:
        confirm(f"remove {device} for good?")
    client.remove_device(device)
    say(f"{device} is removed; it comes back only by enrolling again, under another id")


@app.command()
@connected
def release(client: Client, device: DeviceId, as_json: AsJson = False) -> None:
    """Believe a device again that was put in quarantine because two spoke in its name; look for the other first."""
    released = client.release_device(device)
    if as_json:
        print_json(released)
        return
    say(f"{device} is believed again, from what it says next")


app.command("pin")(pinning.pin)
app.command("unpin")(pinning.unpin)
app.command("pins")(pinning.pins)
app.command("label")(pinning.label)


def _for_devices(client: Client) -> str:
    """The server's address as devices elsewhere reach it: by the first name of its certificate that leads there."""
    address = urlsplit(client.url)
    certificate = client.authorities().certificate if is_loopback(address.hostname or "") else None
    names = () if certificate is None else certificate.names
    host = next((name for name in names if not is_loopback(name)), None)
    if host is None:
        return client.url
    return f"{address.scheme}://{f'[{host}]' if ':' in host else host}:{address.port}"


def _presence(device: Device) -> str:
    return "quarantined" if device.quarantined else device.presence


def _running(device: Device) -> str | None:
    parts = [f"{one.deployment} {short_digest(one.active) or 'no model'} ({one.state})" for one in device.deployments]
    return ", ".join(parts) or None


def _tell_of_restoration(client: Client) -> None:
    """Why a device may be missing here, or be back."""
    last = client.last_restoration()
    if last is None or datetime.now(UTC) - last.restored_at > limits.RESTORATION_TOLD:
        return
    say(
        f"this server was restored on {last.restored_at:%Y-%m-%d %H:%M} UTC from a backup of "
        f"{last.taken_at:%Y-%m-%d %H:%M} UTC: a device enrolled in between is not known here and has to enrol again, "
        "one removed in between is accepted again (edgeops devices remove ID); "
        f"{last.unheard_devices} have not spoken since"
    )
