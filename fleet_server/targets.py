"""What people decide about which devices are meant: groups, pins and labels; each decision is in the audit trail.

What a selector means and a pin forbids is decided in `edgeops.rollout`. A pin takes back at once what it forbids.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from edgeops import limits
from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.learning.healing_groups import groups_named
from edgeops.learning.retraining import RetrainingState
from edgeops.rollout import installation as installing
from edgeops.rollout.installation import InstallationEvent
from edgeops.rollout.pins import Pin
from edgeops.rollout.selector import groups_of, matches, misnamed, parse_selector
from edgeops.rollout.waves import ChosenWave, parse_waves
from fleet_server import roster
from fleet_server.db import (
    audit,
    candidates,
    devices,
    events,
    groups,
    installations,
    models,
    offers,
    pins,
    policies,
    retrainings,
    rollouts,
)
from fleet_server.db.database import Connection, Database
from fleet_server.db.devices import Device
from fleet_server.db.events import EventKind
from fleet_server.db.groups import Group
from fleet_server.rollout_steps import take

# -- groups ------------------------------------------------------------------------------


def known_group(connection: Connection, name: str) -> Group:
    """A group.

    Raises:
        NotFoundError: there is none of this name.
    """
    group = groups.get(connection, name)
    if group is None:
        known = ", ".join(groups.names(connection, limit=limits.NAMED_IN_ERRORS)) or "none yet"
        raise NotFoundError(f"no group {name[:80]!r}; known groups: {known}")
    return group


def members(connection: Connection, group: Group) -> tuple[str, ...]:
    """The devices that are in a group now, by id."""
    means = group.means()
    return tuple(one.id for one in candidates.of_fleet(connection, "") if matches(means, one))


def set_group(
    connection: Connection,
    name: str,
    *,
    selector: str | None = None,
    device_ids: Sequence[str] = (),
    set_by: str,
    now: datetime,
) -> Group:
    """Make a group of those that a selector means, or of a list; one of this name becomes another.

    Raises:
        InputError: a name, selector or device that cannot be used.
        ConflictError: there are too many groups.
    """
    wrong = misnamed(name)
    if wrong is not None:
        raise InputError(wrong, fields=[("name", wrong)])
    _require_usable(connection, selector, device_ids)
    before = groups.get(connection, name)
    if before is None and groups.count(connection) >= limits.MAX_GROUPS:
        raise ConflictError(f"there are {limits.MAX_GROUPS} groups already; remove one: edgeops group remove NAME")
    wanted = (selector or "", tuple(dict.fromkeys(device_ids)))
    if before is not None and (before.selector, before.device_ids) == wanted:
        return before
    group = Group(name=name, selector=wanted[0], device_ids=wanted[1], updated_by=set_by, updated_at=now)
    kept = groups.put(connection, group)
    data = {"selector": group.selector, "device_ids": list(group.device_ids)}
    audit.append(connection, set_by, "group.set", name, data, now)
    events.append(connection, EventKind.GROUP_CHANGED, name, {"revision": kept.revision}, now)
    return kept


def remove_group(connection: Connection, name: str, *, removed_by: str, now: datetime) -> None:
    """Take a group away.

    Raises:
        NotFoundError: there is none of this name.
        ConflictError: a rollout or retraining that has not ended names it, or the retraining policy of a model.
    """
    known_group(connection, name)
    users = list(_users(connection, name))
    if users:
        shown = ", ".join(users[: limits.NAMED_IN_ERRORS])
        raise ConflictError(f"group {name} is named by {shown}; end or change that first")
    groups.remove(connection, name)
    audit.append(connection, removed_by, "group.removed", name, {}, now)
    events.append(connection, EventKind.GROUP_CHANGED, name, {}, now)


def _users(connection: Connection, group: str) -> Iterator[str]:
    """What needs a group, in words."""
    for rollout in rollouts.unended(connection):
        waves = parse_waves(rollout.wanted_waves) if rollout.wanted_waves else ()
        chosen = (wave.selector for wave in waves if isinstance(wave, ChosenWave))
        if any(group in groups_of(selector) for selector in (parse_selector(rollout.selector), *chosen)):
            yield rollout.id
    for model, policy in policies.every(connection):
        if group in groups_named(policy):
            yield f"the retraining policy of {model}"
    for retraining_id in retrainings.open_ids(connection):
        going = retrainings.get(connection, retraining_id)
        # What is proposed takes the policy that its model has by the approval.
        if going is not None and going.state is not RetrainingState.PROPOSED and group in groups_named(going.policy):
            yield f"{going.id} of {going.model}"


def _require_usable(connection: Connection, selector: str | None, device_ids: Sequence[str]) -> None:
    if selector is None:
        known = {one.id for one in devices.some(connection, device_ids) if one.removed_at is None}
        missing = [device_id for device_id in device_ids if device_id not in known]
        if missing:
            shown = ", ".join(missing[: limits.NAMED_IN_ERRORS])
            words = f"no enrolled device with id {shown}; list them with: edgeops devices list"
            raise InputError(words, fields=[("#/device_ids", words)])
        return
    try:
        named = groups_of(parse_selector(selector))
    except InputError as error:
        raise InputError(str(error), fields=[("#/selector", str(error))]) from error
    if named:
        words = f"a group names no other group, and this names {', '.join(sorted(named))}; write out what it means"
        raise InputError(words, fields=[("#/selector", words)])


# -- pins --------------------------------------------------------------------------------


def set_pin(database: Database, pin: Pin) -> tuple[Pin, str]:
    """Keep a device where it is; what the pin forbids and was offered is taken back.

    The same of the same person once more changes nothing. Returns the pin that holds, and in words what it leaves
    undone; empty = nothing.

    Raises:
        NotFoundError: no such device, or an artifact that is not known here.
        InputError: the pin would have ended already.
    """
    now = pin.pinned_at
    if not pin.holds(now):
        words = f"{pin.until} has passed; give a moment to come, or none"
        raise InputError(words, fields=[("#/until", words)])
    with database.write() as connection:
        device = roster.known(connection, pin.device_id)
        if pin.digest is not None and models.artifact_by_digest(connection, pin.digest) is None:
            raise NotFoundError(f"no artifact {pin.digest} here; `edgeops model show NAME` lists digests")
        before = next((one for one in pins.of(connection, pin.device_id) if one.deployment == pin.deployment), None)
        if before is not None and replace(before, pinned_at=now) == pin:
            return before, _undone(device, before, now)
        pins.put(connection, pin)
        for one in installations.unfinished_on(connection, [pin.device_id]):
            if not pin.forbids(one.deployment, one.digest, now):
                continue
            if one.state in installing.OPEN:
                take(connection, one, InstallationEvent.WITHDRAW, detail=str(pin), now=now)
            else:
                offers.count_as_not_asked(connection, one)
        data = {"deployment": pin.deployment, "digest": pin.digest, "until": pin.until}
        audit.append(connection, pin.pinned_by, "device.pinned", pin.device_id, data, now, remark=pin.reason)
        events.append(connection, EventKind.DEVICE_PINNED, pin.device_id, {"deployment": pin.deployment}, now)
    return pin, _undone(device, pin, now)


def remove_pin(database: Database, device_id: str, deployment: str | None, *, removed_by: str, now: datetime) -> None:
    """Let rollouts have a device again.

    Raises:
        NotFoundError: no such device, or it is not pinned.
    """
    with database.write() as connection:
        roster.known(connection, device_id)
        if pins.remove(connection, device_id, deployment) is None:
            what = "as a whole" if deployment is None else f"for {deployment[:80]!r}"
            raise NotFoundError(f"device {device_id} is not pinned {what}; list pins with: edgeops devices pins")
        audit.append(connection, removed_by, "device.unpinned", device_id, {"deployment": deployment}, now)
        events.append(connection, EventKind.DEVICE_UNPINNED, device_id, {"deployment": deployment}, now)


def _undone(device: Device, pin: Pin, now: datetime) -> str:
    reported = device.reported.deployments if device.reported else ()
    concerned = [one for one in reported if pin.concerns(one.deployment, now)]
    undone = {one.deployment: pin.leaves(one.active) for one in concerned}
    return "; ".join(f"deployment {name}: {words}" for name, words in undone.items() if words)


# -- labels ------------------------------------------------------------------------------


def set_labels(
    database: Database,
    device_id: str,
    wanted: Mapping[str, str],
    *,
    without: Sequence[str] = (),
    set_by: str,
    now: datetime,
) -> None:
    """Give a device labels, and take others from it; those that are not named stay.

    Raises:
        NotFoundError: no such device.
        InputError: it would have too many, or its owner says the one that is to go.
    """
    with database.write() as connection:
        device = roster.known(connection, device_id)
        own = devices.labels_of(connection, device_id)
        kept = {key: value for key, value in own.items() if key not in without} | dict(wanted)
        stays = [key for key in without if key not in own and key in device.labels]
        if stays:
            words = f"the owner of {device_id} says {', '.join(stays)} in its configuration; change it there"
            raise InputError(words, fields=[("#/remove", words)])
        if len(kept) > limits.MAX_LABELS:
            words = f"{len(kept)} labels; a device has {limits.MAX_LABELS} at most: remove some"
            raise InputError(words, fields=[("#/set", words)])
        if kept == own:
            return
        devices.set_labels(connection, device_id, kept)
        audit.append(connection, set_by, "device.labelled", device_id, {"labels": kept}, now)
        events.append(connection, EventKind.DEVICE_LABELLED, device_id, {}, now)
