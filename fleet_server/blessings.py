"""Asks devices to try artifacts, takes in what they answer, and tells what a rollout lacks of blessings.

Inside the caller's transaction. A device that is away is asked when it comes; one that does not answer is asked again,
under the same name, until its time is over. What a result is worth and who is asked is decided in
`edgeops.rollout.blessing`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from edgeops import limits
from edgeops.protocol.messages import Benchmark as Request
from edgeops.protocol.messages import Benchmarked, Command, Presence, encode
from edgeops.protocol.topics import DownKind
from edgeops.rollout.blessing import (
    Blessed,
    Blessing,
    ClassStanding,
    Demand,
    Outcome,
    blessing_verdict,
    device_class,
    judge_benchmark,
    whom_to_ask,
)
from fleet_server.db import benchmarks, devices, models, outbox
from fleet_server.db.benchmarks import Benchmark, ClassMembers
from fleet_server.db.database import Connection, Database
from fleet_server.db.rollouts import Rollout
from fleet_server.service_clock import service_time


def ask(
    connection: Connection, device_id: str, digest: str, *, deployment: str | None = None, asked_by: str, now: datetime
) -> Benchmark:
    """Have a device try an artifact, now or when it comes; one that it is to try already is not asked for twice."""
    found = benchmarks.open_on(connection, device_id, digest)
    if found is not None:
        return found
    added = benchmarks.add(
        connection,
        digest,
        asked_by=asked_by,
        device_id=device_id,
        deployment=deployment,
        ends_at=service_time(connection, now) + limits.BENCHMARK_LIFE,
        now=now,
    )
    device = devices.get(connection, device_id)
    if device is not None and device.presence is Presence.ONLINE and not device.quarantined:
        _post(connection, added, now)
        return replace(added, repeated_at=now)
    return added


def keep(database: Database, now: datetime) -> None:
    """Ask those again that do not answer, and end what nobody answered in time."""
    repeated_before = now - limits.BENCHMARK_RETRY_AFTER
    with database.read() as connection:
        clock = service_time(connection, now)
        if not benchmarks.due(connection, clock=clock, repeated_before=repeated_before):
            return
    with database.write() as connection:
        for one in benchmarks.due(connection, clock=clock, repeated_before=repeated_before):
            if one.ends_at <= clock:
                minutes = limits.BENCHMARK_LIFE // timedelta(minutes=1)
                why = "it did not come online" if one.repeated_at is None else "it was asked and did not answer"
                words = f"no answer of {one.device_id} within {minutes} min: {why}"
                benchmarks.end(connection, one, outcome=Outcome.INCONCLUSIVE, detail=words, now=now)
            else:
                _post(connection, one, now)


def take(connection: Connection, told: Benchmarked, now: datetime) -> None:
    """Take in what a device answered; harmless to repeat."""
    one = benchmarks.get(connection, told.benchmark)
    if one is None or one.result is not None:
        return
    artifact = models.artifact_by_digest(connection, one.digest)
    assert artifact is not None, "the artifact of a benchmark stays known"
    judged = judge_benchmark(told, artifact.describe().manifest.budgets)
    benchmarks.end(
        connection,
        one,
        outcome=judged.outcome,
        detail=judged.words,
        device_class=device_class(told.arch, told.runtime, told.board),
        result=_plain(told),
        now=now,
    )


# -- rollouts ---------------------------------------------------------------------------------


def blessing_of(connection: Connection, rollout: Rollout) -> Blessing:
    """Whether a rollout may begin, as far as blessings go."""
    demand = rollout.policy.require_blessing
    if demand is Demand.NONE:
        return Blessed()
    command = f"edgeops benchmark {rollout.model}@{rollout.version} --variant {rollout.variant} --device DEVICE"
    return blessing_verdict(demand, _standings(connection, rollout), command=command)


def ask_for(connection: Connection, rollout: Rollout, now: datetime) -> None:
    """Ask one device of each class that lacks a blessing, where the rollout has the server do that."""
    for number, device_id in enumerate(whom_to_ask(rollout.policy.require_blessing, _standings(connection, rollout))):
        # Ids sort by time, and many share this one: each gets a microsecond of its own.
        at = now + timedelta(microseconds=number)
        ask(connection, device_id, rollout.digest, deployment=rollout.deployment, asked_by=rollout.id, now=at)


def ask_joiner(connection: Connection, rollout: Rollout, device_id: str, now: datetime) -> None:
    """Ask a device that joins the fleet, where the rollout has the server do that and nobody of its class was asked."""
    name = benchmarks.class_of(connection, [device_id])[device_id]
    own = ClassMembers((device_id,), (device_id,))
    standing = _standing(rollout, name, own, benchmarks.of_digest(connection, rollout.digest))
    for chosen in whom_to_ask(rollout.policy.require_blessing, [standing]):
        ask(connection, chosen, rollout.digest, deployment=rollout.deployment, asked_by=rollout.id, now=now)


def unblessed(connection: Connection, rollout: Rollout, device_ids: Sequence[str]) -> dict[str, str]:
    """Those of the devices whose class has never blessed what the rollout brings, and why they may not be asked."""
    if rollout.policy.require_blessing is Demand.NONE or not device_ids:
        return {}
    blessed = benchmarks.blessed_classes(connection, rollout.digest)
    return {
        device_id: f"no device of class {name} has blessed the model"
        for device_id, name in benchmarks.class_of(connection, device_ids).items()
        if name not in blessed
    }


def _standings(connection: Connection, rollout: Rollout) -> list[ClassStanding]:
    known = benchmarks.of_digest(connection, rollout.digest)
    members = benchmarks.classes_in(connection, rollout.id)
    return [_standing(rollout, name, own, known) for name, own in members.items()]


def _standing(rollout: Rollout, name: str, members: ClassMembers, known: Sequence[Benchmark]) -> ClassStanding:
    own = [one for one in known if one.device_class == name]
    telling = next((one for one in own if one.outcome in {Outcome.BLESSED, Outcome.REFUSED}), None)
    vain = [one for one in own if one.outcome is Outcome.INCONCLUSIVE and one.asked_by == rollout.id]
    standing = ClassStanding(
        device_class=name,
        is_asked=any(one.ended_at is None for one in own),
        vain=len(vain),
        vain_words=vain[0].detail if vain else "",
        devices=members.devices,
        online=members.online,
    )
    return standing if telling is None else replace(standing, outcome=telling.outcome, words=telling.detail)


def _post(connection: Connection, one: Benchmark, now: datetime) -> None:
    artifact = models.artifact_by_digest(connection, one.digest)
    assert artifact is not None, "the artifact of a benchmark stays known"
    left = max(one.ends_at - service_time(connection, now), timedelta(0))
    request = Request(
        target=artifact.target,
        digest=one.digest,
        deployment=one.deployment,
        within_ms=left // timedelta(milliseconds=1),
    )
    body = encode(Command(command=one.id, request=request))
    outbox.post(connection, one.device_id, DownKind.COMMAND, body=body, now=now)
    benchmarks.mark_repeated(connection, one.id, now)


def _plain(told: Benchmarked) -> dict[str, Any]:
    """Plain JSON, without what the row says already."""
    values = msgspec.structs.asdict(told)
    return {name: value for name, value in values.items() if name not in {"benchmark", "digest"}}
