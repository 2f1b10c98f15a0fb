"""What people order of rollouts that exist: each is one transaction, with an entry in the audit trail.

What is legal in which state is the table of `edgeops.rollout.rollout`; what it does not list is refused with the state
and what it waits for. A new rollout is ordered through `fleet_server.engine`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.limits import MAX_DETAIL_LENGTH
from edgeops.protocol.messages import Intent
from edgeops.rollout import rollout as rolling
from edgeops.rollout.rollout import RolloutEvent, RolloutState
from fleet_server.db import audit, installations, offers, rollouts
from fleet_server.db.database import Connection, Database
from fleet_server.db.rollouts import Rollout
from fleet_server.engine import begin_if_due, begin_rollout, submit
from fleet_server.four_eyes import require_four_eyes
from fleet_server.rollout_plans import Order
from fleet_server.rollout_steps import advance, ask_again

#: Installations that are asked again in one order; the others with the next one.
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

    Raises:
        NotFoundError: no such rollout.
        ConflictError: it has ended already.
    """
    event = RolloutEvent.ROLL_BACK if roll_back else RolloutEvent.ABORT
    deed = "taken back" if roll_back else "aborted"
    _order(database, rollout_id, event, by, verb="abort", deed=deed)


def undo_rollout(
    database: Database, rollout_id: str, by: By, *, to: str | None = None, waves: Sequence[str] = ("100%",)
) -> str:
    """Bring what an earlier rollout brought to the devices of this one, as a new rollout, and return its id.

    `to` names the earlier one; None = the last that finished before. What is undone is known to be wrong, so the model
    that replaces it is expected to answer differently (intent `heal`).

    Raises:
        NotFoundError: no such rollout.
        ConflictError: there is none to go back to, it is of another deployment, it was not proven, or its model may not
            run any more.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        target = _earlier(connection, rollout) if to is None else _known(connection, to)
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
        devices = _left(connection, rollout)
        order = _order_of(target, by, of=rollout, waves=waves, devices=devices, undoes=rollout.id, intent=Intent.HEAL)
        begun = begin_rollout(connection, order, by.now)
        _note(connection, "rollout.undone", rollout, by, to=target.id, rollout=begun)
        return begun


def retry_rollout(database: Database, rollout_id: str, by: By) -> str:
    """Ask those again that ended badly, and nobody else; of a rollout that has ended, as a new one. Returns the id.

    Raises:
        NotFoundError: no such rollout.
        ConflictError: no device of it ended badly, or nobody can be asked now.
    """
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        bad = offers.ended_badly(connection, rollout.id, limit=_RETRIED_AT_ONCE)
        if rolling.allows(rollout.state, RolloutEvent.RETRY):
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
        asked = (*bad, *installations.withdrawn(connection, rollout.id))
        ids = installations.still_enrolled(connection, tuple(dict.fromkeys(one.device_id for one in asked)))
        _require_some(ids, rollout)
        order = _order_of(rollout, by, of=rollout, waves=_CAREFUL, devices=ids)
        begun = begin_rollout(connection, order, by.now)
        _note(connection, "rollout.retried", rollout, by, devices=len(ids), rollout=begun)
        return begun


# -- what they have in common -------------------------------------------------------------


def _order(database: Database, rollout_id: str, event: RolloutEvent, by: By, *, verb: str, deed: str) -> None:
    with database.write() as connection:
        rollout = _known(connection, rollout_id)
        _require(rollout, event, verb)
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


def _require_some(found: Sequence[object], rollout: Rollout) -> None:
    if not found:
        raise ConflictError(f"no device of rollout {rollout.id} ended badly; nobody is left to ask again")


def _note(connection: Connection, action: str, rollout: Rollout, by: By, /, **data: object) -> None:
    audit.append(connection, by.name, action, rollout.id, dict(data), by.now, remark=by.remark)


def _earlier(connection: Connection, rollout: Rollout) -> Rollout:
    """The last one before it that passed and brought something else."""
    last = rollout.id
    while some := rollouts.page(connection, after=last, deployment=rollout.deployment, limit=50):
        last = some[-1].id
        found = next((one for one in some if one.digest != rollout.digest and _was_proven(connection, one)), None)
        if found is not None:
            return found
    raise ConflictError(
        f"no rollout before {rollout.id} finished on deployment {rollout.deployment}; there is nothing to go back to"
    )


def _was_proven(connection: Connection, rollout: Rollout) -> bool:
    """All its waves passed; one that was live and then paused, or ended for a newer one, is no worse for that."""
    if rollout.state not in {RolloutState.PAUSED, RolloutState.ABORTED}:
        return rollout.state in rolling.PASSED
    last = rollouts.wave_count(connection, rollout.id) - 1
    return rollouts.get_wave(connection, rollout.id, last).has_passed


def _left(connection: Connection, rollout: Rollout) -> tuple[str, ...]:
    """Its devices that are still in the fleet."""
    ids = installations.still_enrolled(connection, installations.devices_of(connection, rollout.id))
    if not ids:
        raise ConflictError(f"no device of rollout {rollout.id} is left in the fleet")
    return ids


def _order_of(
    artifact_of: Rollout,
    by: By,
    *,
    of: Rollout,
    waves: Sequence[str],
    devices: Sequence[str],
    undoes: str | None = None,
    intent: Intent | None = None,
) -> Order:
    """The same artifact to devices of `of`, under the same policy."""
    return Order(
        model=artifact_of.model,
        version=artifact_of.version,
        variant=artifact_of.variant,
        deployment=artifact_of.deployment,
        selector=of.selector,
        waves=waves,
        intent=intent or artifact_of.intent,
        created_by=by.name,
        policy=of.policy,
        only=frozenset(devices),
        undoes=undoes,
    )
