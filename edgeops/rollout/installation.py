"""The installation machine: one deployment's part in one rollout, as the server follows it.

Its events come from our own engine and from devices, whose reports may repeat, come late or contradict
each other. Hence an illegal event is a value here, not a crash. It decides and does nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from edgeops import limits
from edgeops.protocol.messages import Reason, Report, UpdateState
from edgeops.rollout.evidence import Proof
from edgeops.rollout.policy import Policy


class InstallationState(StrEnum):
    """Where an installation stands."""

    #: Not asked yet.
    PENDING = "pending"
    #: Asked; nothing heard yet.
    OFFERED = "offered"
    #: The device works on it.
    INSTALLING = "installing"
    #: Installed and running, with proof of its trial; it bakes.
    COMMITTED = "committed"
    #: The health gate of its wave, or as a late joiner its own, has passed.
    HEALTHY = "healthy"
    #: Could not be fetched or failed its probe.
    FAILED = "failed"
    #: Refused before it ran.
    REJECTED = "rejected"
    #: Ran, and was taken back: by the device in trial, or by the server later.
    ROLLED_BACK = "rolled-back"
    #: The device saw no input or no server during its trial.
    INCONCLUSIVE = "inconclusive"
    #: Something newer took its place, or the offer was taken back.
    SUPERSEDED = "superseded"
    #: Nothing final was heard in time; the truth may still come.
    TIMED_OUT = "timed-out"
    #: Ended badly, and the device is asked again under a new id.
    RETRIED = "retried"
    #: Had committed, and the device runs something else.
    REGRESSED = "regressed"


class InstallationEvent(StrEnum):
    """What can happen to an installation."""

    #: Ask the device.
    OFFER = "offer"
    #: The device works on it, or is done but has not shown its proof.
    PROGRESS = "progress"
    #: The device committed, with proof.
    COMMIT = "commit"
    #: The device could not install it.
    FAIL = "fail"
    #: The device refused it.
    REJECT = "reject"
    #: The device took it back.
    ROLL_BACK = "roll-back"
    #: The device could not decide.
    DOUBT = "doubt"
    #: The device turned to something newer.
    TURN_AWAY = "turn-away"
    #: The offer's deadline passed.
    TIME_OUT = "time-out"
    #: The same, and the device was never online since it was asked.
    MISS = "miss"
    #: It ended badly and is asked again.
    RETRY = "retry"
    #: The health gate passed.
    PASS = "pass"  # noqa: S105 - no password
    #: The model is taken back from a device that has it.
    RECALL = "recall"
    #: The device runs something else than it committed.
    REGRESS = "regress"
    #: The rollout ended, or a newer one takes the device.
    WITHDRAW = "withdraw"


class InstallationCommand(StrEnum):
    """What the server does once the new state is saved; each is safe to carry out twice."""

    #: Nothing.
    NONE = "none"
    #: Make the candidate the device's desired state.
    DESIRE = "desire"
    #: Desire again what the device last committed, so that its next birth does not try the candidate again.
    RESTORE = "restore"


_S, _E, _C = InstallationState, InstallationEvent, InstallationCommand

#: Asked, and not ended.
OPEN = frozenset({_S.OFFERED, _S.INSTALLING, _S.TIMED_OUT})
#: The device works on it, as far as is known.
IN_FLIGHT = frozenset({_S.OFFERED, _S.INSTALLING})
#: The device has the model.
HOLDING = frozenset({_S.COMMITTED, _S.HEALTHY})
#: Ended badly.
BAD = frozenset({_S.FAILED, _S.REJECTED, _S.ROLLED_BACK, _S.INCONCLUSIVE, _S.TIMED_OUT})

_OUTCOMES = {
    _E.COMMIT: (_S.COMMITTED, _C.NONE),
    _E.FAIL: (_S.FAILED, _C.RESTORE),
    _E.REJECT: (_S.REJECTED, _C.RESTORE),
    _E.ROLL_BACK: (_S.ROLLED_BACK, _C.RESTORE),
    _E.DOUBT: (_S.INCONCLUSIVE, _C.RESTORE),
    _E.TURN_AWAY: (_S.SUPERSEDED, _C.NONE),
    _E.WITHDRAW: (_S.SUPERSEDED, _C.RESTORE),
}

#: (state, event) -> (state, command).
TABLE: dict[tuple[InstallationState, InstallationEvent], tuple[InstallationState, InstallationCommand]] = {
    (_S.PENDING, _E.OFFER): (_S.OFFERED, _C.DESIRE),
    (_S.PENDING, _E.WITHDRAW): (_S.SUPERSEDED, _C.NONE),
    # A device that is to be asked again and does not come.
    (_S.PENDING, _E.TIME_OUT): (_S.TIMED_OUT, _C.NONE),
    (_S.OFFERED, _E.PROGRESS): (_S.INSTALLING, _C.NONE),
    (_S.INSTALLING, _E.PROGRESS): (_S.INSTALLING, _C.NONE),
    # What comes after the deadline may still end it, but does not start the clock again.
    (_S.TIMED_OUT, _E.PROGRESS): (_S.TIMED_OUT, _C.NONE),
    (_S.OFFERED, _E.TIME_OUT): (_S.TIMED_OUT, _C.NONE),
    (_S.INSTALLING, _E.TIME_OUT): (_S.TIMED_OUT, _C.NONE),
    (_S.OFFERED, _E.MISS): (_S.RETRIED, _C.RESTORE),
    **{(state, event): outcome for state in OPEN for event, outcome in _OUTCOMES.items()},
    # Reports repeat, and old ones arrive after new ones (backlog flows newest first).
    **{(end, _E.PROGRESS): (end, _C.NONE) for end, _ in _OUTCOMES.values()},
    **{(end, event): (end, _C.NONE) for event, (end, _) in _OUTCOMES.items()},
    # The offer was taken back while the device was still at it: what it says now decides nothing.
    **{
        (state, event): (state, _C.NONE) for state in (_S.SUPERSEDED, _S.RETRIED) for event in (*_OUTCOMES, _E.PROGRESS)
    },
    **{(state, event): (state, _C.NONE) for state in (_S.HEALTHY, _S.REGRESSED) for event in (_E.COMMIT, _E.PROGRESS)},
    **{(state, _E.RETRY): (_S.RETRIED, _C.NONE) for state in BAD - {_S.TIMED_OUT}},
    # Its offer still stands, and would outlive a rollout that ends before the device is asked again.
    (_S.TIMED_OUT, _E.RETRY): (_S.RETRIED, _C.RESTORE),
    (_S.COMMITTED, _E.PASS): (_S.HEALTHY, _C.NONE),
    **{(state, _E.RECALL): (_S.ROLLED_BACK, _C.RESTORE) for state in (*HOLDING, _S.REGRESSED)},
    **{(state, _E.REGRESS): (_S.REGRESSED, _C.NONE) for state in (*HOLDING, _S.REGRESSED)},
}


#: Outcomes that a device decides alone; a commit needs proof.
_ENDS: dict[UpdateState, InstallationEvent] = {
    UpdateState.REJECTED: _E.REJECT,
    UpdateState.FAILED: _E.FAIL,
    UpdateState.ROLLED_BACK: _E.ROLL_BACK,
    UpdateState.SUPERSEDED: _E.TURN_AWAY,
}


@dataclass(frozen=True, slots=True)
class Illegal:
    """An event that does not fit the state: a contradiction to be logged, nothing to be done."""

    state: InstallationState
    event: InstallationEvent

    def __str__(self) -> str:
        return f"{self.event} is illegal in a {self.state} installation"


def step(state: InstallationState, event: InstallationEvent) -> tuple[InstallationState, InstallationCommand] | Illegal:
    """What `event` makes of an installation in `state`, and what to do once that is saved."""
    return TABLE.get((state, event)) or Illegal(state, event)


def with_report(proof: Proof, report: Report) -> Proof:
    """`proof` and what one more report shows; reports may come in any order and repeat."""
    seen = report.evidence
    return Proof(
        inferences=max(proof.inferences, seen.inferences if seen else 0),
        errors=max(proof.errors, seen.errors if seen else 0),
        latency_p50_us=seen.latency_p50_us if seen else proof.latency_p50_us,
        latency_p95_us=seen.latency_p95_us if seen else proof.latency_p95_us,
        memory_bytes=max(proof.memory_bytes, seen.memory_bytes if seen else 0),
        committed=proof.committed or report.state is UpdateState.COMMITTED,
    )


def event_of(report: Report, proof: Proof, policy: Policy) -> InstallationEvent:
    """What a device's report means; `proof` is all it has shown, this report included.

    A commit counts once its proof is there; a commit in spite of errors is a failure.
    """
    if report.reason is Reason.INCONCLUSIVE:
        return InstallationEvent.DOUBT
    if report.state in _ENDS:
        return _ENDS[report.state]
    if proof.committed and proof.errors:
        return InstallationEvent.FAIL
    return InstallationEvent.COMMIT if proof.is_enough(policy) else InstallationEvent.PROGRESS


#: Which counters of its wave an installation is part of.
_COUNTERS: dict[InstallationState, frozenset[str]] = {
    _S.PENDING: frozenset(),
    _S.SUPERSEDED: frozenset(),
    # The row of the next attempt counts instead.
    _S.RETRIED: frozenset(),
    _S.OFFERED: frozenset({"offered"}),
    _S.INSTALLING: frozenset({"offered"}),
    _S.COMMITTED: frozenset({"offered", "committed"}),
    _S.HEALTHY: frozenset({"offered", "committed"}),
    _S.FAILED: frozenset({"offered", "failed"}),
    _S.REJECTED: frozenset({"offered", "failed"}),
    _S.ROLLED_BACK: frozenset({"offered", "failed"}),
    # Only one that was online since it was asked times out: that is an error.
    _S.TIMED_OUT: frozenset({"offered", "failed"}),
    _S.INCONCLUSIVE: frozenset({"offered", "inconclusive"}),
    _S.REGRESSED: frozenset({"offered", "regressed"}),
}
#: Who is asked again was asked: the wave waits for it.
_ASKED_AGAIN = frozenset({"offered"})


def counted(state: InstallationState, *, again: bool = False) -> frozenset[str]:
    """The counters of its wave that an installation is part of; `again` = it is not the first one of its device."""
    return _ASKED_AGAIN if again and state is InstallationState.PENDING else _COUNTERS[state]


def counters(before: InstallationState, after: InstallationState, *, again: bool = False) -> dict[str, int]:
    """By how much each counter of the wave changes."""
    was, becomes = counted(before, again=again), counted(after, again=again)
    return {**dict.fromkeys(was - becomes, -1), **dict.fromkeys(becomes - was, 1)}


def is_lost(state: InstallationState) -> bool:
    """Whether the device did not keep the model."""
    return bool(_COUNTERS[state] & {"failed", "regressed"})


def is_over(state: InstallationState) -> bool:
    """Whether it has ended without the model, so that nothing more counts of what the device shows."""
    return is_final(state) and state not in HOLDING


def is_final(state: InstallationState) -> bool:
    """Whether nothing more is expected of the device."""
    return state not in OPEN and state is not InstallationState.PENDING


# -- asked again -----------------------------------------------------------------------------


class Lasting(StrEnum):
    """Whether the same would happen again."""

    #: It may go well next time.
    TRANSIENT = "transient"
    #: The same model on the same device ends the same way.
    PERMANENT = "permanent"
    #: No end at all: it goes on by itself.
    NO_END = "no-end"


_LASTING: dict[Reason, Lasting] = {
    **dict.fromkeys((Reason.FETCH, Reason.DISK, Reason.INCONCLUSIVE), Lasting.TRANSIENT),
    **dict.fromkeys((Reason.NONE, Reason.NEWER, Reason.WINDOW, Reason.HELD), Lasting.NO_END),
    **dict.fromkeys(
        (
            Reason.NOT_LISTED,
            Reason.WITHDRAWN,
            Reason.TRUST,
            Reason.EXPIRED,
            Reason.ROLLBACK,
            Reason.DIGEST,
            Reason.INCOMPATIBLE,
            Reason.GOLDEN,
            Reason.PROBE,
            Reason.ACCEPTANCE,
            Reason.INFERENCE,
            Reason.TRIAL_BOOTS,
            Reason.CRASHES,
        ),
        Lasting.PERMANENT,
    ),
}


def lasting(reason: Reason) -> Lasting:
    """How an end for this reason is to be taken."""
    return _LASTING[reason]


def is_asked_again(state: InstallationState, reason: Reason, *, attempt: int, policy: Policy) -> bool:
    """Whether a device that ended so is asked once more by itself: an end that need not last, and tries are left."""
    if attempt > policy.retries or state not in BAD:
        return False
    return state is InstallationState.TIMED_OUT or lasting(reason) is Lasting.TRANSIENT


# -- deadlines -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Until when a device that works on an installation must end, and must be heard; on the service clock."""

    #: When it was asked.
    asked_at: datetime
    ends_by: datetime
    heard_by: datetime

    @property
    def next(self) -> datetime:
        """The earlier one."""
        return min(self.ends_by, self.heard_by)


def asked(policy: Policy, now: datetime) -> Deadlines:
    """The deadlines of a device that is asked now."""
    return Deadlines(now, now + policy.offer_timeout, now + progress_within(policy))


def progress_within(policy: Policy) -> timedelta:
    """Within what time a device at work must be heard: in one state it says the same once in REPORT_INTERVAL."""
    return max(policy.progress_timeout, limits.QUIET_WORK)


def heard(before: Deadlines, policy: Policy, now: datetime, *, waits: bool) -> Deadlines:
    """The deadlines once it was heard.

    One that `waits` (for its maintenance window, or is held) gets more time, and at least as long to be heard again as
    any device may be silent: it says the same once a minute, however short the policy is.
    """
    if not waits:
        return Deadlines(before.asked_at, before.ends_by, now + progress_within(policy))
    longer = now + max(policy.offer_timeout, limits.SILENCE_TIMEOUT)
    ends_by = max(before.ends_by, min(longer, before.asked_at + limits.LONGEST_HOLD))
    return Deadlines(before.asked_at, ends_by, now + max(policy.progress_timeout, limits.SILENCE_TIMEOUT))
