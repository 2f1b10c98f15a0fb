"""The store of rollouts and their waves with counters; their installations are in `fleet_server.db.installations`.

It keeps what `edgeops.rollout` decided and decides nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from edgeops.artifact.manifest import Variant
from edgeops.protocol.messages import Intent
from edgeops.rollout import installation as machine
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import JUDGED, OPEN, RolloutState
from edgeops.rollout.waves import Wave as PlannedWave
from fleet_server.db import events, reach
from fleet_server.db.events import EventKind
from fleet_server.db.identifiers import new_id
from fleet_server.db.tables import artifacts, installations, rollouts, waves

#: Rows in one INSERT; SQLite allows 32,766 values.
_INSERT_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One artifact on its way to many devices."""

    id: str
    model: str
    version: int
    variant: Variant
    digest: str
    target: str
    deployment: str
    selector: str
    intent: Intent
    policy: Policy
    #: As somebody wrote them; what became of them are its `waves`.
    wanted_waves: tuple[str, ...] = ()
    state: RolloutState
    reason: str = ""
    wave: int = 0
    revision: int = 1
    #: Goes on after its last wave: devices that join later, and match, get it too.
    continuous: bool = False
    needs_approval: bool = False
    approved_by: str | None = None
    starts_at: datetime | None = None
    #: When it asked for the first time; of two rollouts the one that began last is the newer one.
    began_at: datetime | None = None
    #: When it came into its state, and until when it may stay there, on the service clock.
    entered_at: datetime | None = None
    deadline_at: datetime | None = None
    #: The rollout that this one undoes.
    undoes: str | None = None
    created_by: str
    created_at: datetime
    finished_at: datetime | None = None

    @property
    def age(self) -> tuple[datetime, str]:
        """Grows from older rollouts to newer ones; one that has not begun is as old as its order."""
        return self.began_at or self.created_at, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One wave, with counters by outcome; `offered` includes the other three."""

    rollout_id: str
    position: int
    size: int
    offered: int
    committed: int
    failed: int
    inconclusive: int
    #: Committed, and later found to run something else.
    regressed: int
    #: Who is in it, where a selector says so; empty = by number.
    selector: str
    #: Held back as control until the bake before it is over.
    control: bool
    #: Since when it bakes, on the service clock.
    bakes_since: datetime | None
    #: What its devices and the control share showed, summed up.
    health: dict[str, Any] | None
    #: Who let it pass without proof, why and when.
    override: dict[str, str] | None
    started_at: datetime | None
    finished_at: datetime | None
    #: {"verdict": pass | wait | fail, "reason": words, "evidence": numbers}
    verdict: dict[str, Any] | None

    @property
    def ended(self) -> int:
        """Devices of which no more is expected before the bake."""
        return self.committed + self.failed + self.regressed + self.inconclusive

    @property
    def has_passed(self) -> bool:
        """Whether the next wave may be asked: by proof, or because a person said so."""
        by_proof = self.verdict is not None and self.verdict["verdict"] == "pass"
        return self.finished_at is not None and (by_proof or self.override is not None)


# -- making and reading --------------------------------------------------------------


def add(connection: Connection, rollout: Rollout, planned: Sequence[PlannedWave]) -> None:
    """Add a rollout with its waves, which hold every device once."""
    now = rollout.created_at
    values = {field: getattr(rollout, field) for field in rollout.__slots__}
    connection.execute(rollouts.insert().values(values))
    connection.execute(
        waves.insert(),
        [
            {
                "rollout_id": rollout.id,
                "position": position,
                "size": len(wave.devices),
                "selector": wave.selector,
                "control": wave.control,
            }
            for position, wave in enumerate(planned)
        ],
    )
    members = [
        (position, device_id) for position, wave in enumerate(planned) for device_id in (one.id for one in wave.devices)
    ]
    # Ids sort by time, and thousands share this one: each gets a microsecond of its own.
    rows = [
        _row(rollout, device_id, position, now + timedelta(microseconds=number), now)
        for number, (position, device_id) in enumerate(members)
    ]
    for start in range(0, len(rows), _INSERT_ROWS):
        connection.execute(installations.insert(), rows[start : start + _INSERT_ROWS])
    reach.follow_rollout(connection, rollout.id)
    events.append(connection, EventKind.ROLLOUT_CREATED, rollout.id, {"deployment": rollout.deployment}, now)


def join(connection: Connection, rollout: Rollout, device_id: str, *, wave: int, now: datetime) -> None:
    """Add a device that came to a continuous rollout."""
    connection.execute(installations.insert().values(_row(rollout, device_id, wave, now, now)))
    reach.follow(connection, [device_id])
    of_wave = (waves.c.rollout_id == rollout.id) & (waves.c.position == wave)
    connection.execute(update(waves).where(of_wave).values(size=waves.c.size + 1))


def _row(rollout: Rollout, device_id: str, wave: int, born: datetime, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id("install", born),
        "rollout_id": rollout.id,
        "wave": wave,
        "device_id": device_id,
        "deployment": rollout.deployment,
        "digest": rollout.digest,
        "state": InstallationState.PENDING,
        "updated_at": now,
    }


def get(connection: Connection, rollout_id: str) -> Rollout | None:
    """One rollout, or None."""
    row = connection.execute(select(rollouts).where(rollouts.c.id == rollout_id)).one_or_none()
    return None if row is None else _rollout(row)


def page(
    connection: Connection, *, after: str | None = None, deployment: str | None = None, limit: int
) -> tuple[Rollout, ...]:
    """Rollouts, newest first, of one deployment if given; `after` is the last id of the page before."""
    query = select(rollouts).order_by(rollouts.c.id.desc()).limit(limit)
    if deployment is not None:
        query = query.where(rollouts.c.deployment == deployment)
    if after is not None:
        query = query.where(rollouts.c.id < after)
    return tuple(_rollout(row) for row in connection.execute(query))


def in_states(connection: Connection, states: Iterable[RolloutState]) -> tuple[Rollout, ...]:
    """The rollouts in one of these states, oldest first."""
    query = select(rollouts).where(rollouts.c.state.in_(list(states))).order_by(rollouts.c.id)
    return tuple(_rollout(row) for row in connection.execute(query))


def newest_first(
    connection: Connection, deployment: str, *, before: Rollout | None = None, limit: int | None = None
) -> tuple[Rollout, ...]:
    """The rollouts of a deployment from the newest to the oldest, or from the last one `before` another."""
    since, name = by_age()
    query = select(rollouts).where(rollouts.c.deployment == deployment).order_by(since.desc(), name.desc()).limit(limit)
    if before is not None:
        at, other = before.age
        query = query.where(or_(since < at, and_(since == at, name < other)))
    return tuple(_rollout(row) for row in connection.execute(query))


def deployments(connection: Connection, states: Collection[RolloutState]) -> frozenset[str]:
    """Those that a rollout in one of these states brings a model to."""
    query = select(rollouts.c.deployment).where(rollouts.c.state.in_(list(states))).distinct()
    return frozenset(connection.execute(query).scalars())


def by_age() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """`Rollout.age` in a query."""
    return func.coalesce(rollouts.c.began_at, rollouts.c.created_at), rollouts.c.id


def is_newer(than: Rollout) -> ColumnElement[bool]:
    """`Rollout.age` compared in a query."""
    (since, name), (at, other) = by_age(), than.age
    return or_(since > at, and_(since == at, name > other))


def undone(connection: Connection, deployment: str) -> frozenset[str]:
    """The rollouts of a deployment that somebody undid."""
    query = select(rollouts.c.undoes).where(rollouts.c.deployment == deployment, rollouts.c.undoes.is_not(None))
    return frozenset(connection.execute(query).scalars())


def unended(connection: Connection) -> tuple[Rollout, ...]:
    """The rollouts that have something to do, or a person has, oldest first."""
    query = select(rollouts).where(rollouts.c.state.in_(list(OPEN))).order_by(rollouts.c.id)
    return tuple(_rollout(row) for row in connection.execute(query))


def showing(connection: Connection) -> tuple[Rollout, ...]:
    """The rollouts whose waves show something, oldest first."""
    return in_states(connection, tuple(JUDGED))


def without_model(connection: Connection) -> tuple[Rollout, ...]:
    """The rollouts whose artifact was withdrawn, and that have not ended or still wait for a device."""
    waits = select(installations.c.id).where(
        installations.c.rollout_id == rollouts.c.id,
        installations.c.state.in_([InstallationState.PENDING, *machine.OPEN]),
        installations.c.withdrawal.is_(None),
    )
    query = (
        select(rollouts)
        .join(artifacts, artifacts.c.digest == rollouts.c.digest)
        .where(or_(rollouts.c.state.in_(list(OPEN)), waits.exists()), artifacts.c.withdrawn_at.is_not(None))
        .order_by(rollouts.c.id)
    )
    return tuple(_rollout(row) for row in connection.execute(query))


def waves_of(connection: Connection, rollout_id: str) -> tuple[Wave, ...]:
    """All waves of a rollout, in order."""
    query = select(waves).where(waves.c.rollout_id == rollout_id).order_by(waves.c.position)
    return tuple(Wave(**row._mapping) for row in connection.execute(query))  # noqa: SLF001 - SQLAlchemy's public name


def waves_by_rollout(connection: Connection, rollout_ids: Sequence[str]) -> dict[str, list[Wave]]:
    """All waves of several rollouts, in order, by rollout."""
    query = select(waves).where(waves.c.rollout_id.in_(rollout_ids)).order_by(waves.c.rollout_id, waves.c.position)
    found: dict[str, list[Wave]] = {rollout_id: [] for rollout_id in rollout_ids}
    for row in connection.execute(query):
        found[row.rollout_id].append(Wave(**row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
    return found


def wave_count(connection: Connection, rollout_id: str) -> int:
    """How many waves a rollout has."""
    query = select(func.count()).select_from(waves).where(waves.c.rollout_id == rollout_id)
    return connection.execute(query).scalar_one()


def get_wave(connection: Connection, rollout_id: str, position: int) -> Wave:
    """One wave, which exists."""
    row = connection.execute(select(waves).where(waves.c.rollout_id == rollout_id, waves.c.position == position)).one()
    return Wave(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


# -- keeping what was decided -------------------------------------------------------------


def save(connection: Connection, rollout: Rollout, now: datetime) -> Rollout:
    """Keep what can change of a rollout; the revision goes up, and `events` hears of it."""
    ended = rollout.state not in OPEN
    saved = replace(rollout, revision=rollout.revision + 1, finished_at=(rollout.finished_at or now) if ended else None)
    fields = (
        "state", "wave", "reason", "revision", "approved_by", "began_at", "entered_at", "deadline_at", "finished_at",
    )  # fmt: skip
    changed = connection.execute(
        update(rollouts)
        .where(rollouts.c.id == saved.id, rollouts.c.revision == rollout.revision)
        .values({field: getattr(saved, field) for field in fields})
    )
    assert changed.rowcount == 1, "the write lock keeps others out between loading and saving"
    data = {"state": saved.state, "wave": saved.wave, "reason": saved.reason}
    events.append(connection, EventKind.ROLLOUT_CHANGED, saved.id, data, now)
    return saved


def start_wave(connection: Connection, rollout: Rollout, now: datetime) -> None:
    """Remember when the present wave began; harmless to repeat."""
    connection.execute(update(waves).where(*_present(rollout), waves.c.started_at.is_(None)).values(started_at=now))


def put_off(connection: Connection, rollout: Rollout, until: datetime) -> Rollout:
    """Set until when a rollout may stay in its state; what people see does not change."""
    connection.execute(update(rollouts).where(rollouts.c.id == rollout.id).values(deadline_at=until))
    return replace(rollout, deadline_at=until)


def judge_wave(
    connection: Connection,
    rollout: Rollout,
    *,
    verdict: Mapping[str, Any],
    override: Mapping[str, str] | None = None,
    now: datetime,
) -> None:
    """Keep the verdict on the present wave, and who overrode it; one that is still waited for is not finished."""
    values: dict[str, Any] = {"verdict": dict(verdict)}
    if verdict["verdict"] != "wait":
        values["finished_at"] = now
    if override is not None:
        values["override"] = dict(override)
    connection.execute(update(waves).where(*_present(rollout)).values(values))


def bake(connection: Connection, rollout: Rollout, since: datetime) -> None:
    """Remember since when the present wave bakes; harmless to repeat."""
    connection.execute(update(waves).where(*_present(rollout), waves.c.bakes_since.is_(None)).values(bakes_since=since))


def bake_anew(connection: Connection, rollout: Rollout) -> None:
    """Have the present wave bake from the beginning, once its devices have ended."""
    connection.execute(update(waves).where(*_present(rollout)).values(bakes_since=None, finished_at=None))


def _present(rollout: Rollout) -> tuple[Any, Any]:
    return waves.c.rollout_id == rollout.id, waves.c.position == rollout.wave


def _rollout(row: Row[Any]) -> Rollout:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    values["variant"] = Variant(row.variant)
    values["intent"] = Intent(row.intent)
    values["policy"] = msgspec.convert(row.policy, Policy)
    values["wanted_waves"] = tuple(row.wanted_waves)
    values["state"] = RolloutState(row.state)
    return Rollout(**values)
