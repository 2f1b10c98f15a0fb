"""What people order of rollouts that exist: each is one transaction, with an entry in the audit trail.

What is legal in which state is the table of `edgeops.rollout.rollout`; what it does not list is refused with the state
and what it waits for. A new rollout is ordered through `fleet_server.engine`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.limits import MAX_DETAIL_LENGTH, NAMED_IN_ERRORS
from edgeops.protocol.messages import Intent
from edgeops.rollout import installation as installing
from edgeops.rollout import rollout as rolling
from edgeops.rollout.policy import of_undo
from edgeops.rollout.rollout import RolloutEvent, RolloutState
from fleet_server.db import audit, installations, models, offers, parts, rollouts, withdrawals
from fleet_server.db.database import Connection, Database
from fleet_server.db.rollouts import Rollout
from fleet_server.engine import begin_if_due, begin_rollout, submit
from fleet_server.four_eyes import require_four_eyes
from fleet_server.rollout_plans import Order
from fleet_server.rollout_steps import advance, ask_again, withdraw_some

#: Installations that an open rollout asks again in one order; the others with the next one.
_RETRIED_AT_ONCE = 1_000
#: A new rollout of devices that an earlier one asked begins with one of them too.
_CAREFUL = ("1", "100%")


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who orders it, when and why."""

    name: str
    now: datetime
    remark: str = ""

    def words(self, deed: str) -> str:
        """The reason that the rollout carries afterwards."""
        said = f": {self.remark}" if self.remark else ""
        return f"{deed} by {self.name}{said}"[:MAX_DETAIL_LENGTH]


def submit_rollout(database: Database, rollout_id: str, by: By) -> None:
    """Begin a draft, or have it approved first.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it is no draft.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        _require(rollout, rolling.submitting(needs_approval=rollout.needs_approval), "submit")
        submit(connection, rollout, by.now)
        _note(connection, "rollout.submitted", rollout, by)


def approve_rollout(database: Database, rollout_id: str, by: By) -> None:
    """Let a rollout begin.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it awaits no approval, or four eyes are demanded and these are the two that began it.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        _require(rollout, RolloutEvent.APPROVE, "approve")
        require_four_eyes(connection, rollout.created_by, by.name)
        approved = advance(connection, rollout, RolloutEvent.APPROVE, approved_by=by.name, now=by.now)
        begin_if_due(connection, approved, by.now)
        _note(connection, "rollout.approved", rollout, by)


def deny_rollout(database: Database, rollout_id: str, by: By) -> None:
    """End a rollout before it begins.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it awaits no approval.
    """
    _order(database, rollout_id, RolloutEvent.DENY, by, verb="deny", deed="denied")


def pause_rollout(database: Database, rollout_id: str, by: By) -> None:
    """Ask no further device; those that are at it go on.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it asks nobody.
    """
    _order(database, rollout_id, RolloutEvent.PAUSE, by, verb="pause", deed="paused")


def resume_rollout(database: Database, rollout_id: str, by: By) -> None:
    """Ask again; a wave whose evidence was missing has the time for it once more.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it is neither paused nor finished with regressions.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
        event = rolling.resuming(passed=rollout.continuous and wave.has_passed)
        _require(rollout, event, "resume")
        if not wave.has_passed:
            rollouts.bake_anew(connection, rollout)
        advance(connection, rollout, event, reason=by.words("resumed"), now=by.now)
        _note(connection, "rollout.resumed", rollout, by)


def advance_rollout(database: Database, rollout_id: str, by: By) -> None:
    """Let the present wave pass without proof: an override, which is stored with the wave and needs a remark.

    Raises:
        InputError: no remark.
        NotFoundError: no such rollout.
        ConflictError: no wave of it waits, or four eyes are demanded and these are the two that began it.
    """
    if not by.remark.strip():
        detail = "an override needs a remark: say why this wave may pass without proof"
        raise InputError(detail, fields=[("#/remark", detail)])
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        waves = rollouts.wave_count(connection, rollout.id)
        event = rolling.overriding(rolling.Rollout(rollout.state, rollout.wave, waves))
        _require(rollout, event, "advance")
        require_four_eyes(connection, rollout.created_by, by.name)
        wave = rollouts.get_wave(connection, rollout.id, rollout.wave)
        if wave.has_passed:
            raise ConflictError(f"rollout {rollout.id} is {rollout.state} and its last wave has passed; resume it")
        reason = by.words("passed without proof, advanced")
        said = {"by": by.name, "at": by.now.isoformat(), "remark": by.remark, "instead_of": rollout.reason}
        verdict = {"verdict": "override", "reason": reason, "evidence": (wave.verdict or {}).get("evidence", {})}
        rollouts.judge_wave(connection, rollout, verdict=verdict, override=said, now=by.now)
        advance(connection, rollout, event, reason="" if event is RolloutEvent.ADVANCE else reason, now=by.now)
        _note(connection, "rollout.advanced", rollout, by, wave=rollout.wave)


def abort_rollout(database: Database, rollout_id: str, by: By, *, roll_back: bool = False) -> None:
    """End a rollout: offers are taken back; devices that committed keep the model unless it is to `roll_back`.

    One that has finished stays so, and asks nobody who comes later.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it has ended already, and asks nobody.
    """
    event = RolloutEvent.ROLL_BACK if roll_back else RolloutEvent.ABORT
    deed = "taken back" if roll_back else "aborted"
    _order(database, rollout_id, event, by, verb="abort", deed=deed)


def undo_rollout(
    database: Database, rollout_id: str, by: By, *, to: str | None = None, waves: Sequence[str] = ("100%",)
) -> str:
    """Bring what an earlier rollout brought to the devices that have the model of this one, and return its id.

    It is a new rollout; the undone one asks nobody any more. `to` names the earlier one; None = the last that finished
    before, whose model they all ran. What is undone is known to be wrong: the model that replaces it is expected to
    answer differently (intent `heal`), and is not measured by it.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: there is none to go back to, or they ran different ones; it is of another deployment, was not
            proven, or its model may not run any more; no device has what is to be undone.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        _ask_nobody(connection, rollout, by)
        holders = _holders(connection, rollout)
        target = _earlier(connection, rollout, holders.here) if to is None else _known(connection, to)
        if target.deployment != rollout.deployment or target.id == rollout.id:
            raise ConflictError(
                f"rollout {target.id} brought {target.model}@{target.version} to deployment {target.deployment}; name"
                f" an earlier one: edgeops rollout history {rollout.deployment}"
            )
        if not _was_proven(connection, target):
            raise ConflictError(
                f"rollout {target.id} is {target.state}: {target.reason or 'its waves have not passed'}; what was not"
                " proven is nothing to go back to, begin it anew: edgeops rollout create"
            )
        order = replace(
            _again(target, by, waves=waves, devices=holders.here),
            selector=rollout.selector,
            intent=Intent.HEAL,
            policy=of_undo(rollout.policy),
            needs_approval=False,
            undoes=rollout.id,
        )
        begun = begin_rollout(connection, order, by.now)
        left = {"quarantined": holders.quarantined, "moved_on": holders.moved_on}
        _note(connection, "rollout.undone", rollout, by, to=target.id, rollout=begun, **left)
        return begun


def retry_rollout(database: Database, rollout_id: str, by: By) -> str:
    """Ask those again that ended badly, and nobody else; of a rollout that has ended, as a new one. Returns the id.

    Who has, or is at, a newer model since is left with that.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: no device of it ended badly, or nobody can be asked now.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        _require_listed(connection, rollout)
        if rolling.allows(rollout.state, RolloutEvent.RETRY):
            ended = offers.ended_badly(connection, rollout.id, limit=_RETRIED_AT_ONCE)
            gone = parts.moved_on(connection, rollout, [one.device_id for one in ended])
            bad = [one for one in ended if one.device_id not in gone]
            _require_some(bad, rollout)
            passed = rollouts.get_wave(connection, rollout.id, rollout.wave).has_passed
            if passed and rollout.state is RolloutState.PAUSED:
                # No wave of it waits; as a running one it would be judged by all that it ever lost.
                rollout = advance(
                    connection, rollout, RolloutEvent.RESUME_LIVE, reason=by.words("asked again"), now=by.now
                )
            for one in bad:
                ask_again(connection, rollout, one, by.now)
            if not passed:
                rollouts.bake_anew(connection, rollout)
            advance(connection, rollout, RolloutEvent.RETRY, reason=by.words("asked again"), now=by.now)
            _note(connection, "rollout.retried", rollout, by, devices=len(bad))
            return rollout.id
        if rollout.state in rolling.OPEN:
            raise ConflictError(f"rollout {rollout.id} is {rollout.state}; nobody can be asked again now")
        # All of them: the next order would find the same ones again.
        asked = (
            *installations.devices_in(connection, rollout.id, installing.BAD),
            *installations.withdrawn(connection, rollout.id),
        )
        gone = parts.moved_on(connection, rollout, asked)
        ids = installations.still_enrolled(connection, tuple(one for one in dict.fromkeys(asked) if one not in gone))
        _require_some(ids, rollout)
        order = _again(rollout, by, waves=_CAREFUL, devices=ids)
        begun = begin_rollout(connection, order, by.now)
        _note(connection, "rollout.retried", rollout, by, devices=len(ids), rollout=begun)
        return begun


# -- what they have in common -------------------------------------------------------------


def _order(database: Database, rollout_id: str, event: RolloutEvent, by: By, *, verb: str, deed: str) -> None:
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        _require(rollout, event, verb)
        if event is RolloutEvent.ABORT and rollout.state not in rolling.OPEN:
            _require_unfinished(connection, rollout)
        advance(connection, rollout, event, reason=by.words(deed), now=by.now)
        _note(connection, f"rollout.{deed.replace(' ', '-')}", rollout, by)


def _known(connection: Connection, rollout_id: str) -> Rollout:
    rollout = rollouts.get(connection, rollout_id)
    if rollout is None:
        raise NotFoundError(f"no rollout {rollout_id[:80]!r}; list them with: edgeops rollout list")
    return rollout


def _require(rollout: Rollout, event: RolloutEvent, verb: str) -> None:
    if rolling.allows(rollout.state, event):
        return
    waiting = rolling.waits_for(rollout.state)
    if waiting is None:
        raise ConflictError(f"rollout {rollout.id} is {rollout.state} already; nothing is left to {verb}")
    raise ConflictError(f"cannot {verb} rollout {rollout.id}: it is {rollout.state} and waits for {waiting.words}")


def _require_unfinished(connection: Connection, rollout: Rollout) -> None:
    if not installations.has_unfinished(connection, rollout.id):
        raise ConflictError(
            f"rollout {rollout.id} is {rollout.state} already and asks nobody; nothing is left to abort, but the model"
            " can be taken back (--roll-back)"
        )


def _require_some(found: Sequence[object], rollout: Rollout) -> None:
    if not found:
        raise ConflictError(
            f"no device of rollout {rollout.id} ended badly that has nothing newer; nobody is left to ask again"
        )


def _require_listed(connection: Connection, rollout: Rollout) -> None:
    artifact = models.artifact_by_digest(connection, rollout.digest)
    assert artifact is not None, "a rollout's artifact stays known"
    if artifact.withdrawn_at is not None:
        raise ConflictError(f"{rollout.model}@{rollout.version} {rollout.variant} was withdrawn; nobody can be asked")


def _note(connection: Connection, action: str, rollout: Rollout, by: By, /, **data: object) -> None:
    audit.append(connection, by.name, action, rollout.id, dict(data), by.now, remark=by.remark)


def _ask_nobody(connection: Connection, rollout: Rollout, by: By) -> None:
    """Whoever came late, or joined, would get meanwhile what is being undone."""
    reason = by.words("undone")
    if rolling.allows(rollout.state, RolloutEvent.ABORT):
        advance(connection, rollout, RolloutEvent.ABORT, reason=reason, now=by.now)
    else:
        withdrawals.let_go(connection, rollout.id, reason=reason, now=by.now)
        withdraw_some(connection, by.now)


@dataclass(frozen=True, slots=True)
class _Holders:
    """The devices that a rollout brought its model to, in the order in which they were asked."""

    #: They have it, or shall have it.
    here: tuple[str, ...]
    #: Nothing is believed of them.
    quarantined: tuple[str, ...]
    #: Another rollout brought another model since.
    moved_on: tuple[str, ...]


def _holders(connection: Connection, rollout: Rollout) -> _Holders:
    asked = installations.devices_in(connection, rollout.id, installations.PROVEN)
    last = parts.held(connection, rollout.deployment, asked)
    held = tuple(one for one in asked if last[one] == rollout.digest)
    here, quarantined = installations.still_enrolled(connection, held), installations.quarantined(connection, held)
    moved_on = tuple(one for one in asked if last[one] != rollout.digest)
    if not here:
        left = {"quarantined and left as they are": quarantined, "have another one since": moved_on}
        words = [f"; {said}: {', '.join(ids[:NAMED_IN_ERRORS])}" for said, ids in left.items() if ids]
        raise ConflictError(f"no device has what rollout {rollout.id} brought; nothing is left to undo{''.join(words)}")
    return _Holders(here, quarantined, moved_on)


def _earlier(connection: Connection, rollout: Rollout, devices: Sequence[str]) -> Rollout:
    """The last one before it that passed and brought something else, which all of these devices ran."""
    undone = rollouts.undone(connection, rollout.deployment)
    newest: Rollout | None = None
    for one in rollouts.newest_first(connection, rollout.deployment, before=rollout):
        if one.digest == rollout.digest or one.id in undone or not _was_proven(connection, one):
            continue
        newest = newest or one
        if not _strangers(connection, one, devices):
            return one
    if newest is None:
        raise ConflictError(
            f"no rollout before {rollout.id} finished on deployment {rollout.deployment} with another model; there is"
            " nothing to go back to"
        )
    strangers = _strangers(connection, newest, devices)
    raise ConflictError(
        f"{len(strangers)} of {len(devices)} devices that have what rollout {rollout.id} brought, as"
        f" {', '.join(strangers[:NAMED_IN_ERRORS])}, never ran {newest.model}@{newest.version} of rollout {newest.id};"
        f" say what they shall run: edgeops rollout undo {rollout.id} --to ROLLOUT"
    )


def _strangers(connection: Connection, earlier: Rollout, devices: Sequence[str]) -> tuple[str, ...]:
    """Those of the devices that never proved its model."""
    proven = installations.proven_on(connection, earlier.deployment, earlier.digest)
    return tuple(one for one in devices if one not in proven)


def _was_proven(connection: Connection, rollout: Rollout) -> bool:
    """All its waves passed; one that was live and then paused, or ended for a newer one, is no worse for that."""
    if rollout.state not in {RolloutState.PAUSED, RolloutState.ABORTED}:
        return rollout.state in rolling.PASSED
    last = rollouts.wave_count(connection, rollout.id) - 1
    return rollouts.get_wave(connection, rollout.id, last).has_passed


def _again(rollout: Rollout, by: By, *, waves: Sequence[str], devices: Sequence[str]) -> Order:
    """The same once more, for these devices alone."""
    return Order(
        model=rollout.model,
        version=rollout.version,
        variant=rollout.variant,
        deployment=rollout.deployment,
        selector=rollout.selector,
        waves=waves,
        intent=rollout.intent,
        created_by=by.name,
        policy=rollout.policy,
        needs_approval=rollout.needs_approval,
        only=frozenset(devices),
        undoes=rollout.undoes,
    )
