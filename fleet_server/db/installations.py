"""The store of installations: each deployment's part in one rollout.

A changed installation changes its wave's counters and says so in `events`, in the same transaction, so
that judging a wave costs the same at 100 and at 10,000 devices. It keeps what `edgeops.rollout` decided
and decides nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, union_all, update

from edgeops.rollout import installation as machine
from edgeops.rollout.evidence import Proof
from edgeops.rollout.installation import Deadlines, InstallationState
from fleet_server.db import events
from fleet_server.db.events import EventKind
from fleet_server.db.many import portions
from fleet_server.db.reach import Reach
from fleet_server.db.rollouts import Rollout
from fleet_server.db.tables import devices, installations, waves

#: The device came to run the model, also if it ran something else for a time; ended otherwise, it never did.
PROVEN = machine.HOLDING | {InstallationState.REGRESSED}
#: What a step of an installation can change.
_CHANGING = (
    "state",
    "reason",
    "detail",
    "evidence",
    "asked_at",
    "ends_by",
    "deadline_at",
    "offered_at",
    "updated_at",
    "finished_at",
    "withdrawal",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One deployment's part in one rollout."""

    id: str
    rollout_id: str
    wave: int
    device_id: str
    deployment: str
    digest: str
    state: InstallationState
    reason: str
    detail: str
    evidence: Proof
    #: What the device showed since it was asked, and before.
    health: dict[str, Any] | None
    #: 1 = asked for the first time, or anew after a pin or quarantine; a retry is a row of its own.
    attempt: int
    #: Not asked before this, on the service clock.
    not_before: datetime | None
    #: On the service clock: when the device was asked, until when it must end, and when something is due.
    asked_at: datetime | None
    ends_by: datetime | None
    deadline_at: datetime | None
    offered_at: datetime | None
    updated_at: datetime
    #: None with a state that is an end: the model was taken back, and the device was not heard to run another yet.
    finished_at: datetime | None
    #: Why it is to be taken back from the device, which was not done yet.
    withdrawal: str | None


def of_rollout(
    connection: Connection, rollout_id: str, *, after: str | None = None, limit: int
) -> tuple[Installation, ...]:
    """The installations of a rollout by id; `after` is the last id of the page before."""
    query = select(installations).where(installations.c.rollout_id == rollout_id, installations.c.id > (after or ""))
    return installations_in(connection, query.order_by(installations.c.id).limit(limit))


def get(connection: Connection, installation_id: str) -> Installation | None:
    """One installation, or None."""
    row = connection.execute(select(installations).where(installations.c.id == installation_id)).one_or_none()
    return None if row is None else _installation(row)


def installations_in(connection: Connection, query: Any) -> tuple[Installation, ...]:
    """The installations that a query over their table finds."""
    return tuple(_installation(row) for row in connection.execute(query))


# -- what the engine asks ---------------------------------------------------------------


def has_unfinished(connection: Connection, rollout_id: str) -> bool:
    """Whether a device of this rollout was not asked yet, or was, has not ended and is not to be taken back."""
    waiting = installations.c.withdrawal.is_(None)
    return _is_any(connection, rollout_id, [InstallationState.PENDING, *machine.OPEN], waiting)


def has_open(connection: Connection, rollout_id: str) -> bool:
    """Whether a device of this rollout was asked and has not ended."""
    return _is_any(connection, rollout_id, machine.OPEN)


def _is_any(
    connection: Connection, rollout_id: str, states: Iterable[InstallationState], *more: ColumnElement[bool]
) -> bool:
    query = select(installations.c.id).where(
        installations.c.rollout_id == rollout_id, installations.c.state.in_(list(states)), *more
    )
    return connection.execute(query.limit(1)).first() is not None


def unfinished_on(connection: Connection, device_ids: Sequence[str]) -> tuple[Installation, ...]:
    """Installations on these devices that were not asked yet, or have not ended."""
    found: list[Installation] = []
    for ids in portions(device_ids):
        query = select(installations).where(
            installations.c.device_id.in_(ids),
            installations.c.state.in_([InstallationState.PENDING, *machine.OPEN]),
        )
        found += installations_in(connection, query.order_by(installations.c.id))
    return tuple(found)


def open_on(connection: Connection, device_id: str, deployment: str) -> tuple[Installation, ...]:
    """What one deployment of a device was asked and has not ended."""
    query = select(installations).where(
        installations.c.device_id == device_id,
        installations.c.deployment == deployment,
        installations.c.state.in_(list(machine.OPEN)),
    )
    return installations_in(connection, query.order_by(installations.c.id))


def last_committed(
    connection: Connection, device_id: str, deployment: str, *, besides: str | None = None, digest: str | None = None
) -> Installation | None:
    """The newest proven installation on a device, other than `besides`, of `digest` if given."""
    return _last(connection, device_id, deployment, machine.HOLDING, besides=besides, digest=digest)


def last_run(connection: Connection, device_id: str, deployment: str, digest: str) -> Installation | None:
    """The newest installation by which a device came to run a model, also if it ran something else for a time."""
    return _last(connection, device_id, deployment, PROVEN, digest=digest)


def _last(
    connection: Connection,
    device_id: str,
    deployment: str,
    states: Iterable[InstallationState],
    *,
    besides: str | None = None,
    digest: str | None = None,
) -> Installation | None:
    query = select(installations).where(
        installations.c.device_id == device_id,
        installations.c.deployment == deployment,
        installations.c.state.in_(list(states)),
        installations.c.id != (besides or ""),
    )
    if digest is not None:
        query = query.where(installations.c.digest == digest)
    row = connection.execute(query.order_by(installations.c.finished_at.desc()).limit(1)).one_or_none()
    return None if row is None else _installation(row)


def last_proof(connection: Connection, installation: Installation) -> Installation | None:
    """What the device showed for the same model under another id: in another rollout, or before it was asked again."""
    states = [*machine.HOLDING, InstallationState.RETRIED]
    query = select(installations).where(
        installations.c.device_id == installation.device_id,
        installations.c.deployment == installation.deployment,
        installations.c.digest == installation.digest,
        installations.c.state.in_(states),
        installations.c.id != installation.id,
    )
    row = connection.execute(query.order_by(installations.c.finished_at.desc()).limit(1)).one_or_none()
    return None if row is None else _installation(row)


def attempt_before(connection: Connection, installation: Installation) -> Installation | None:
    """The last attempt of the same part, which ended badly; None = this is the first."""
    query = select(installations).where(
        installations.c.rollout_id == installation.rollout_id,
        installations.c.device_id == installation.device_id,
        installations.c.deployment == installation.deployment,
        installations.c.state == InstallationState.RETRIED,
        installations.c.attempt < installation.attempt,
    )
    row = connection.execute(query.order_by(installations.c.attempt.desc()).limit(1)).one_or_none()
    return None if row is None else _installation(row)


def devices_in(connection: Connection, rollout_id: str, states: Iterable[InstallationState]) -> tuple[str, ...]:
    """The devices of a rollout that are in one of these states, each once, in the order in which they are asked."""
    query = select(installations.c.device_id).where(
        installations.c.rollout_id == rollout_id, installations.c.state.in_(list(states))
    )
    found = connection.execute(query.order_by(installations.c.wave, installations.c.id)).scalars()
    return tuple(dict.fromkeys(found))


def proven_on(connection: Connection, deployment: str, digest: str) -> frozenset[str]:
    """The devices on which a model was proven, whatever they run since."""
    query = select(installations.c.device_id).where(
        installations.c.deployment == deployment,
        installations.c.digest == digest,
        installations.c.state.in_(list(machine.HOLDING)),
    )
    return frozenset(connection.execute(query).scalars())


def is_within(connection: Connection, rollout_id: str, other_id: str) -> bool:
    """Whether every device of a rollout that is enrolled and believed is one of another, too."""
    mine, others = installations.alias(), installations.alias()
    beyond = select(mine.c.id).where(
        mine.c.rollout_id == rollout_id,
        mine.c.state != InstallationState.RETRIED,
        mine.c.device_id.in_(
            select(devices.c.id).where(devices.c.removed_at.is_(None), devices.c.quarantined.is_(False))
        ),
        mine.c.device_id.not_in(
            select(others.c.device_id).where(
                others.c.rollout_id == other_id, others.c.state != InstallationState.RETRIED
            )
        ),
    )
    return connection.execute(beyond.limit(1)).first() is None


def still_enrolled(connection: Connection, device_ids: Sequence[str]) -> tuple[str, ...]:
    """Those of the devices that were not removed and are believed, in the given order."""
    return _in_fleet(connection, device_ids, quarantined=False)


def quarantined(connection: Connection, device_ids: Sequence[str]) -> tuple[str, ...]:
    """Those of the devices that were not removed and are not believed, in the given order."""
    return _in_fleet(connection, device_ids, quarantined=True)


def _in_fleet(connection: Connection, device_ids: Sequence[str], *, quarantined: bool) -> tuple[str, ...]:
    found: set[str] = set()
    for ids in portions(device_ids):
        query = select(devices.c.id).where(
            devices.c.id.in_(ids), devices.c.removed_at.is_(None), devices.c.quarantined.is_(quarantined)
        )
        found |= set(connection.execute(query).scalars())
    return tuple(one for one in device_ids if one in found)


def withdrawn(connection: Connection, rollout_id: str) -> tuple[str, ...]:
    """The devices from which an offer was taken back before they had ended, in the order in which they were asked."""
    query = select(installations.c.device_id).where(
        installations.c.rollout_id == rollout_id,
        installations.c.state == InstallationState.SUPERSEDED,
        installations.c.offered_at.is_not(None),
    )
    return tuple(connection.execute(query.order_by(installations.c.id)).scalars())


def silent_in(connection: Connection, rollout_id: str, wave: int) -> int:
    """How many devices of a wave run the model with trial proof and are offline now."""
    query = (
        select(func.count())
        .select_from(installations)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.state == InstallationState.COMMITTED,
            installations.c.reach == Reach.AWAY,
            installations.c.wave == wave,
        )
    )
    return connection.execute(query).scalar_one()


def quiet_in(connection: Connection, rollout_id: str, wave: int, *, before: datetime, only: str | None = None) -> int:
    """How many devices of a wave run the model with trial proof and are there, but sent nothing since that moment.

    `only`: look at this installation alone. Those that another rollout has asked for something newer owe nothing.
    """
    newer = installations.alias("newer")
    query = (
        select(func.count())
        .select_from(installations)
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.wave == wave,
            installations.c.shown_at < before,
            installations.c.state == InstallationState.COMMITTED,
            installations.c.reach == Reach.READY,
            ~exists().where(
                newer.c.device_id == installations.c.device_id,
                newer.c.deployment == installations.c.deployment,
                newer.c.offered_at > installations.c.offered_at,
            ),
        )
    )
    if only is not None:
        query = query.where(installations.c.id == only)
    return connection.execute(query).scalar_one()


def removed_in(connection: Connection, rollout_id: str, wave: int) -> int:
    """How many devices of a wave had the model with trial proof when they left the fleet, in good standing."""
    query = (
        select(func.count())
        .select_from(installations.join(devices, devices.c.id == installations.c.device_id))
        .where(
            installations.c.rollout_id == rollout_id,
            installations.c.state == InstallationState.COMMITTED,
            installations.c.reach == Reach.OUT,
            installations.c.wave == wave,
            devices.c.removed_at.is_not(None),
            devices.c.quarantined.is_(False),
        )
    )
    return connection.execute(query).scalar_one()


def first_problem(connection: Connection, rollout_id: str, wave: int) -> Installation | None:
    """The installation of a wave that failed or regressed first, else the one that was inconclusive first."""
    lost = [state for state in InstallationState if machine.counted(state) & {"failed", "regressed"}]
    for states in (lost, [InstallationState.INCONCLUSIVE]):
        # One look into the index for each state: all of them together would be sorted.
        firsts = [
            select(installations.c.id, installations.c.updated_at)
            .where(
                installations.c.rollout_id == rollout_id,
                installations.c.wave == wave,
                installations.c.state == state,
            )
            .order_by(installations.c.updated_at)
            .limit(1)
            .subquery()
            for state in states
        ]
        either = union_all(*(select(first) for first in firsts)).subquery()
        first = select(either.c.id).order_by(either.c.updated_at).limit(1).scalar_subquery()
        row = connection.execute(select(installations).where(installations.c.id == first)).one_or_none()
        if row is not None:
            return _installation(row)
    return None


# -- keeping what was decided -------------------------------------------------------------


def pass_wave(connection: Connection, rollout: Rollout, now: datetime) -> None:
    """The devices of the present wave have passed the health gate: one statement, and the rollout's event tells it."""
    committed = (
        (installations.c.rollout_id == rollout.id)
        & (installations.c.wave == rollout.wave)
        & (installations.c.state == InstallationState.COMMITTED)
    )
    connection.execute(update(installations).where(committed).values(state=InstallationState.HEALTHY, updated_at=now))


def join_wave(connection: Connection, installation: Installation, position: int) -> Installation:
    """Have a device that was not asked in its own wave take part in a later one."""
    assert installation.state is InstallationState.PENDING, "only who was not asked can change the wave"
    if installation.wave == position or installation.attempt > 1:
        return installation
    of_rollout = waves.c.rollout_id == installation.rollout_id
    for wave, change in ((installation.wave, -1), (position, 1)):
        connection.execute(update(waves).where(of_rollout, waves.c.position == wave).values(size=waves.c.size + change))
    connection.execute(update(installations).where(installations.c.id == installation.id).values(wave=position))
    return replace(installation, wave=position)


def move(
    connection: Connection,
    before: Installation,
    state: InstallationState,
    *,
    reason: str = "",
    detail: str = "",
    evidence: Proof | None = None,
    deadlines: Deadlines | None = None,
    heard: bool = True,
    now: datetime,
) -> Installation:
    """Keep the next state of an installation with its wave's counters; nothing happens when nothing changed.

    Not `heard` = the server decided on the end, and the device has yet to tell that it is so.
    """
    after = replace(
        before,
        state=state,
        reason=reason or before.reason,
        detail=detail or before.detail,
        evidence=evidence or before.evidence,
    )
    if after == before:
        return before
    working = state in machine.IN_FLIGHT
    after = replace(
        after,
        updated_at=now,
        offered_at=now if state is InstallationState.OFFERED else before.offered_at,
        finished_at=(before.finished_at or now) if machine.is_final(state) and heard else None,
        asked_at=deadlines.asked_at if deadlines else before.asked_at,
        ends_by=deadlines.ends_by if deadlines else before.ends_by,
        deadline_at=deadlines.next if deadlines else (before.deadline_at if working else None),
        withdrawal=before.withdrawal if state in machine.OPEN else None,
    )
    connection.execute(
        update(installations)
        .where(installations.c.id == after.id)
        .values({field: getattr(after, field) for field in _CHANGING})
    )
    changes = machine.counters(before.state, state, again=before.attempt > 1)
    count(connection, after.rollout_id, after.wave, changes)
    data = {"rollout": after.rollout_id, "device": after.device_id, "state": state, "reason": after.reason}
    events.append(connection, EventKind.INSTALLATION_CHANGED, after.id, data, now)
    return after


def count(connection: Connection, rollout_id: str, wave: int, changes: Mapping[str, int]) -> None:
    """Change the counters of a wave."""
    if changes:
        connection.execute(
            update(waves)
            .where(waves.c.rollout_id == rollout_id, waves.c.position == wave)
            .values({name: waves.c[name] + change for name, change in changes.items()})
        )


def _installation(row: Row[Any]) -> Installation:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    del values["reach"], values["shown_at"]
    values["state"] = InstallationState(row.state)
    values["evidence"] = Proof() if row.evidence is None else msgspec.convert(row.evidence, Proof)
    return Installation(**values)
