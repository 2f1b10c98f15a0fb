"""Devices: who they are, what they said of themselves, what they shall run.

Keeps the order of desired states: every change raises the device's revision, and a device that has
seen a higher one (the server was restored from a backup) raises it above that. Does not compose
messages for the wire beyond the typed body, and does not send.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, select, update

from edgeops import limits
from edgeops.protocol.keys import PublicKey
from edgeops.protocol.messages import (
    Desired,
    DesiredDeployment,
    Intent,
    Maintenance,
    Presence,
    Reported,
    Shadowing,
)
from edgeops.protocol.topics import DownKind
from edgeops.rollout.blessing import device_class
from edgeops.rollout.health.starts import noted
from fleet_server.db import events, outbox, reach, settings
from fleet_server.db.events import EventKind
from fleet_server.db.tables import broker_accounts, desired, device_keys, devices
from fleet_server.db.upsert import insert


@dataclass(frozen=True, slots=True)
class Device:
    """One agent identity."""

    id: str
    name: str
    #: Machine id or board serial, as told at enrolment.
    hardware: str
    #: This server's, and those that its owner gave it.
    labels: Mapping[str, str]
    enrolled_at: datetime
    removed_at: datetime | None
    quarantined: bool
    presence: Presence
    session_counter: int
    #: When its newest starts were heard of that were not the first, in seconds since 1970.
    starts: tuple[int, ...]
    agent_version: str
    last_seen_at: datetime | None
    reported: Reported | None
    reported_at: datetime | None
    #: Of what it reported, by which devices bless models for each other; empty before.
    device_class: str
    desired_epoch: int
    desired_revision: int

    @property
    def is_behind(self) -> bool:
        """Whether the device has not reported the newest desired state yet."""
        seen = (0, 0) if self.reported is None else (self.reported.desired_epoch, self.reported.desired_revision)
        return seen < (self.desired_epoch, self.desired_revision)


# -- identity ---------------------------------------------------------------------


def enrol(
    connection: Connection,
    device_id: str,
    *,
    name: str,
    hardware: str,
    public_key: PublicKey,
    agent_version: str = "",
    labels: Mapping[str, str] | None = None,
    now: datetime,
) -> None:
    """Add a device and its first key; says so in `events`."""
    connection.execute(
        devices.insert().values(
            id=device_id,
            name=name,
            hardware=hardware,
            labels=dict(labels or {}),
            enrolled_at=now,
            agent_version=agent_version,
        )
    )
    connection.execute(
        device_keys.insert().values(
            device_id=device_id, key_id=public_key.key_id, public_hex=public_key.hex, added_at=now
        )
    )
    events.append(connection, EventKind.DEVICE_ENROLLED, device_id, {"name": name}, now)


def get(connection: Connection, device_id: str) -> Device | None:
    """The device of this id, removed or not."""
    row = connection.execute(select(devices).where(devices.c.id == device_id)).one_or_none()
    return None if row is None else _device(row)


def page(connection: Connection, *, after: str | None = None, limit: int) -> tuple[Device, ...]:
    """Devices that were not removed, in id order, those after `after`."""
    query = select(devices).where(devices.c.removed_at.is_(None), devices.c.id > (after or ""))
    return tuple(_device(row) for row in connection.execute(query.order_by(devices.c.id).limit(limit)))


def some(connection: Connection, device_ids: Iterable[str]) -> tuple[Device, ...]:
    """The devices of these ids, in id order."""
    query = select(devices).where(devices.c.id.in_(list(device_ids))).order_by(devices.c.id)
    return tuple(_device(row) for row in connection.execute(query))


def remove(connection: Connection, device_id: str, *, now: datetime) -> bool:
    """End a device: its keys are revoked, its broker account goes, nothing is wanted of it; False when it has ended."""
    live = (devices.c.id == device_id) & devices.c.removed_at.is_(None)
    ended = update(devices).where(live).values(removed_at=now, presence=Presence.OFFLINE)
    if connection.execute(ended).rowcount == 0:
        return False
    keys_left = (device_keys.c.device_id == device_id) & device_keys.c.revoked_at.is_(None)
    connection.execute(update(device_keys).where(keys_left).values(revoked_at=now))
    connection.execute(delete(broker_accounts).where(broker_accounts.c.username == device_id))
    connection.execute(delete(desired).where(desired.c.device_id == device_id))
    reach.follow(connection, [device_id])
    # With nothing wanted, the link takes back what the broker retains.
    outbox.post(connection, device_id, DownKind.DESIRED, now=now)
    events.append(connection, EventKind.DEVICE_REMOVED, device_id, {}, now)
    return True


def keys(connection: Connection, device_id: str) -> dict[str, PublicKey]:
    """The accepted keys of one device by key id."""
    return accepted_keys(connection, device_id=device_id).get(device_id, {})


def accepted_keys(connection: Connection, *, device_id: str | None = None) -> dict[str, dict[str, PublicKey]]:
    """The accepted keys of all devices (or one), by device and key id; removed devices have none."""
    query = (
        select(device_keys.c.device_id, device_keys.c.key_id, device_keys.c.public_hex)
        .join(devices, devices.c.id == device_keys.c.device_id)
        .where(device_keys.c.revoked_at.is_(None), devices.c.removed_at.is_(None))
    )
    if device_id is not None:
        query = query.where(devices.c.id == device_id)
    accepted: dict[str, dict[str, PublicKey]] = defaultdict(dict)
    for owner, key_id, public_hex in connection.execute(query):
        accepted[owner][key_id] = PublicKey.from_hex(public_hex)
    return dict(accepted)


def quarantined_ids(connection: Connection) -> frozenset[str]:
    """The devices of which nothing is believed."""
    return frozenset(connection.execute(select(devices.c.id).where(devices.c.quarantined)).scalars())


# -- broker accounts ----------------------------------------------------------------


def set_broker_account(connection: Connection, username: str, *, password_hash: str, now: datetime) -> None:
    """Add or replace the broker account of a device (or of the server itself)."""
    statement = insert(connection, broker_accounts).values(
        username=username, password_hash=password_hash, created_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["username"], set_={"password_hash": password_hash, "created_at": now}
        )
    )


def broker_account_hashes(connection: Connection, *, now: datetime) -> dict[str, str]:
    """Password hashes by user name, in name order, of all that are not cut off now."""
    query = select(broker_accounts.c.username, broker_accounts.c.password_hash).order_by(broker_accounts.c.username)
    let_in = broker_accounts.c.cut_off_until.is_(None) | ~_is_cut_off(now)
    return {row.username: row.password_hash for row in connection.execute(query.where(let_in))}


def cut_off(connection: Connection, usernames: Iterable[str], *, until: datetime) -> None:
    """Have the broker not let them in until then."""
    those = broker_accounts.c.username.in_(list(usernames))
    connection.execute(update(broker_accounts).where(those).values(cut_off_until=until))


def next_cut_off_end(connection: Connection, *, after: datetime | None = None) -> datetime | None:
    """When the next one is let in again; None = nobody is cut off."""
    query = select(func.min(broker_accounts.c.cut_off_until))
    if after is not None:
        query = query.where(_is_cut_off(after))
    return connection.execute(query).scalar()


def _is_cut_off(now: datetime) -> ColumnElement[bool]:
    """An end further away than any is set was set by a clock that was put back since: it counts as over."""
    until = broker_accounts.c.cut_off_until
    return (until > now) & (until <= now + limits.CUT_OFF)


def labels_of(connection: Connection, device_id: str) -> dict[str, str]:
    """What people of the server say of a device; `Device.labels` also has what its owner says."""
    return dict(connection.execute(select(devices.c.labels).where(devices.c.id == device_id)).scalar_one())


def set_labels(connection: Connection, device_id: str, labels: Mapping[str, str]) -> None:
    """Make these the labels of a device."""
    connection.execute(update(devices).where(devices.c.id == device_id).values(labels=dict(labels)))


# -- what devices say ---------------------------------------------------------------


def set_presence(
    connection: Connection,
    device_id: str,
    *,
    presence: Presence,
    session_counter: int,
    agent_version: str = "",
    now: datetime,
) -> bool:
    """Take in a birth or last will; False when it changes nothing or an older session said it.

    That it is gone is no sign of life: the broker found it out, or silence told it.
    """
    known = select(devices.c.presence, devices.c.session_counter, devices.c.starts).where(devices.c.id == device_id)
    last = connection.execute(known).one_or_none()
    if last is None or last.session_counter > session_counter:
        return False
    if (last.presence, last.session_counter) == (presence, session_counter):
        return False
    values: dict[str, Any] = {"presence": presence, "session_counter": session_counter}
    if 0 < last.session_counter < session_counter:
        values["starts"] = noted(last.starts, more=session_counter - last.session_counter, at=now)
    if presence is Presence.ONLINE:
        values["last_seen_at"] = now
    if agent_version:
        values["agent_version"] = agent_version
    connection.execute(update(devices).where(devices.c.id == device_id).values(values))
    reach.follow(connection, [device_id])
    data = {"presence": presence, "session": session_counter}
    events.append(connection, EventKind.DEVICE_STATUS, device_id, data, now)
    return True


def set_reported(connection: Connection, device_id: str, reported: Reported, *, now: datetime) -> None:
    """Take in what a device really runs.

    A device that has seen a higher desired state than the database knows gets a still higher one.
    """
    known = select(devices.c.desired_epoch, devices.c.desired_revision).where(devices.c.id == device_id)
    row = connection.execute(known).one_or_none()
    if row is None:
        return
    facts = reported.facts
    own_class = device_class(facts.arch, facts.runtime, facts.board)
    values: dict[str, Any] = {
        "reported": reported,
        "reported_at": now,
        "last_seen_at": now,
        "device_class": own_class,
    }
    if (reported.desired_epoch, reported.desired_revision) > tuple(row):
        values |= {"desired_epoch": reported.desired_epoch, "desired_revision": reported.desired_revision + 1}
        outbox.post(connection, device_id, DownKind.DESIRED, now=now)
    connection.execute(update(devices).where(devices.c.id == device_id).values(values))
    data = {"revision": reported.desired_revision}
    events.append(connection, EventKind.DEVICE_REPORTED, device_id, data, now)


def mark_seen(connection: Connection, device_ids: Iterable[str], *, now: datetime) -> None:
    """Remember that these devices spoke."""
    rows = [{"seen": device_id} for device_id in device_ids]
    if rows:
        statement = update(devices).where(devices.c.id == bindparam("seen")).values(last_seen_at=now)
        connection.execute(statement, rows)


def silent_ids(connection: Connection, *, now: datetime, limit: int) -> tuple[str, ...]:
    """Devices that count as online and said nothing for SILENCE_TIMEOUT."""
    query = select(devices.c.id).where(_is_silent(now)).order_by(devices.c.id).limit(limit)
    return tuple(connection.execute(query).scalars())


def end_silent(connection: Connection, device_ids: Iterable[str], *, now: datetime) -> int:
    """Mark those of the devices offline that are still silent; how many were."""
    silent = select(devices.c.id, devices.c.session_counter).where(devices.c.id.in_(list(device_ids)), _is_silent(now))
    ended = connection.execute(silent).all()
    for device_id, session_counter in ended:
        set_presence(connection, device_id, presence=Presence.OFFLINE, session_counter=session_counter, now=now)
    return len(ended)


def quarantine(connection: Connection, device_id: str, *, reason: str, now: datetime) -> bool:
    """Believe nothing of a device until a person looked; False when that is so already."""
    free = (devices.c.id == device_id) & devices.c.quarantined.is_(False)
    if connection.execute(update(devices).where(free).values(quarantined=True)).rowcount == 0:
        return False
    reach.follow(connection, [device_id])
    events.append(connection, EventKind.DEVICE_QUARANTINED, device_id, {"reason": reason}, now)
    return True


def release(connection: Connection, device_id: str, *, now: datetime) -> bool:
    """Believe a device again; False when it was not quarantined."""
    held = (devices.c.id == device_id) & devices.c.quarantined.is_(True)
    if connection.execute(update(devices).where(held).values(quarantined=False)).rowcount == 0:
        return False
    reach.follow(connection, [device_id])
    events.append(connection, EventKind.DEVICE_RELEASED, device_id, {}, now)
    return True


# -- what devices shall run -----------------------------------------------------------


def set_desired(connection: Connection, device_id: str, wanted: DesiredDeployment, now: datetime) -> int:
    """Change what one deployment shall run, have it sent, and return the new revision."""
    values = {
        "target": wanted.target,
        "digest": wanted.digest,
        "installation_id": wanted.installation,
        "intent": wanted.intent,
        "trial_inferences": wanted.trial_inferences,
        "shadowing": wanted.shadowing,
        "maintenance": wanted.maintenance,
        "updated_at": now,
    }
    statement = insert(connection, desired).values(device_id=device_id, deployment=wanted.deployment, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["device_id", "deployment"], set_=values))
    place = connection.execute(
        select(devices.c.desired_epoch, devices.c.desired_revision).where(devices.c.id == device_id)
    ).one()
    epoch = max(place.desired_epoch, settings.fleet_epoch(connection))
    revision = int(place.desired_revision) + 1
    connection.execute(
        update(devices).where(devices.c.id == device_id).values(desired_epoch=epoch, desired_revision=revision)
    )
    outbox.post(connection, device_id, DownKind.DESIRED, now=now)
    data = {"deployment": wanted.deployment, "digest": wanted.digest, "revision": revision}
    events.append(connection, EventKind.DESIRED_CHANGED, device_id, data, now)
    return revision


def want_nothing(connection: Connection, device_id: str, deployment: str, now: datetime) -> None:
    """Say no more what one deployment shall run: what it runs goes on."""
    named = (desired.c.device_id == device_id) & (desired.c.deployment == deployment)
    if connection.execute(delete(desired).where(named)).rowcount == 0:
        return
    place = devices.c.desired_revision
    connection.execute(update(devices).where(devices.c.id == device_id).values(desired_revision=place + 1))
    outbox.post(connection, device_id, DownKind.DESIRED, now=now)


def begin_epoch(connection: Connection, epoch: int, now: datetime) -> None:
    """A new fleet key speaks: every desired state goes out again, above all that the key before it could say."""
    wanted = (devices.c.desired_revision > 0) & devices.c.removed_at.is_(None) & (devices.c.desired_epoch < epoch)
    ids = tuple(connection.execute(select(devices.c.id).where(wanted).order_by(devices.c.id)).scalars())
    connection.execute(update(devices).where(wanted).values(desired_epoch=epoch, desired_revision=1))
    for device_id in ids:
        outbox.post(connection, device_id, DownKind.DESIRED, now=now)


def desired_of(connection: Connection, device_id: str) -> Desired | None:
    """All that a device shall run; None when nobody ever wanted anything of it."""
    place = connection.execute(
        select(devices.c.desired_epoch, devices.c.desired_revision).where(
            devices.c.id == device_id, devices.c.removed_at.is_(None)
        )
    ).one_or_none()
    if place is None or place.desired_revision == 0:
        return None
    deployments = tuple(wanted_by_device(connection, [device_id])[device_id])
    return Desired(epoch=place.desired_epoch, revision=place.desired_revision, deployments=deployments)


def wanted_by_device(connection: Connection, device_ids: Sequence[str]) -> dict[str, list[DesiredDeployment]]:
    """What each of these devices shall run, by deployment."""
    query = select(desired).where(desired.c.device_id.in_(device_ids)).order_by(desired.c.deployment)
    found: dict[str, list[DesiredDeployment]] = {device_id: [] for device_id in device_ids}
    for row in connection.execute(query):
        found[row.device_id].append(desired_deployment(row))
    return found


def desired_deployment(row: Row[Any]) -> DesiredDeployment:
    """A row of the table `desired`."""
    return DesiredDeployment(
        deployment=row.deployment,
        target=row.target,
        digest=row.digest,
        installation=row.installation_id,
        intent=Intent(row.intent),
        trial_inferences=row.trial_inferences,
        shadowing=None if row.shadowing is None else msgspec.convert(row.shadowing, Shadowing),
        maintenance=msgspec.convert(row.maintenance, tuple[Maintenance, ...]),
    )


def ids_with_desired(connection: Connection) -> tuple[str, ...]:
    """The devices of which somebody wants something."""
    query = select(devices.c.id).where(devices.c.desired_revision > 0, devices.c.removed_at.is_(None))
    return tuple(connection.execute(query.order_by(devices.c.id)).scalars())


def _is_silent(now: datetime) -> ColumnElement[bool]:
    """Who was last seen in a time to come was seen by a clock that was put back since."""
    last, silence = devices.c.last_seen_at, limits.SILENCE_TIMEOUT
    return (devices.c.presence == Presence.ONLINE) & ((last < now - silence) | (last > now + silence))


def _device(row: Row[Any]) -> Device:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    values["presence"] = Presence(row.presence)
    values["starts"] = tuple(row.starts)
    reported = None if row.reported is None else msgspec.convert(row.reported, Reported)
    values["reported"] = reported
    if reported is not None:
        # What this server says of a device outweighs what the device says of itself.
        values["labels"] = {**reported.facts.labels, **row.labels}
    return Device(**values)
