"""One deployment's update machine with its effects: what the table commands is done here, in this order:
decide, persist, act. A power cut between any two of them repeats the last command, which is harmless.

`Updates` is safe to call from any thread. Quick commands run in the caller's thread, slow ones in the deployment's
worker; what a slow one found counts only if the deployment still waits for it. It loads no model and answers
no input: `running()` says which model shall, `on_change` that this may have changed. Neither `running` nor
`trial_inference` waits for the disk, however long a write takes: they are asked between two inputs.

What was decided and cannot be written down (a full disk, one that turned read-only) waits and is tried again; until
then the state on disk holds, and `state()` gives `Reason.DISK`.
"""  # noqa: D205 - one sentence

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import RLock
from typing import assert_never

from device_agent.baking import FILE as BAKE_FILE
from device_agent.baking import Baking
from device_agent.faultpoint import reach
from device_agent.steps import Candidate, Steps, Surroundings
from device_agent.store.slots import Slot, Slots
from device_agent.store.state import DeploymentStore
from device_agent.trial import Trial
from edgeops import limits
from edgeops.digest import sweep
from edgeops.errors import DiskError, PlatformError
from edgeops.protocol.messages import DeploymentState, DesiredDeployment, Reason, Shadowing, UpdateState, encode
from edgeops.protocol.topics import UpKind
from edgeops.update import machine
from edgeops.update.events import (
    Acknowledged,
    Deferred,
    Event,
    EvidenceSpooled,
    Failed,
    Lost,
    Reported,
    Settled,
    TrialFailed,
)
from edgeops.update.faults import FailPoint, did, saved
from edgeops.update.leave import Hold, obstacle
from edgeops.update.machine import Command
from edgeops.update.streak import Standing, standing
from edgeops.update.update import (
    RESTING,
    Update,
    Wanted,
    committed,
    evidence_report,
    final_report,
    is_tried,
    report_key,
)

__all__ = ["Running", "Surroundings", "Updates"]

_log = logging.getLogger(__name__)

#: What an unforeseen error in a slow step is reported as.
_UNFORESEEN = {
    Command.FETCH: Reason.FETCH,
    Command.VERIFY: Reason.DIGEST,
    Command.STAGE: Reason.DISK,
    Command.PROBE: Reason.PROBE,
    Command.CHECK_LISTED: Reason.TRUST,
}


@dataclass(frozen=True, slots=True)
class Running:
    """What shall answer now."""

    #: None = NO_MODEL.
    active: Slot | None
    #: In TRIAL: answers real inputs (Phase.TRIAL), and `trial_inference` is told about each.
    candidate: Slot | None
    #: Answers a share of the inputs beside the model in charge, and no sink hears it: in TRIAL the active model, while
    #: a committed one bakes the model before it.
    shadow: Slot | None = None
    #: How much of them, and how early windows close; None = there is no shadow, and windows close as usual.
    shadowing: Shadowing | None = None


class Updates:
    """One deployment. Call `resume()` once after the start, then `tick()` about once a second."""

    def __init__(
        self,
        deployment: str,
        folder: Path,
        *,
        surroundings: Surroundings,
        on_change: Callable[[], None],
        hold: Hold | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read what the last process left.

        Args:
            deployment: its name.
            folder: `deployments/<name>` of the state folder; made if missing.
            surroundings: what all deployments of the device share.
            on_change: called without any lock held, from any thread, when `running()` or `state()` changed.
            hold: the owner's; see `hold`.
            monotonic: seconds; for tests.
        """
        self._deployment = deployment
        self._around = surroundings
        self._on_change = on_change
        self._monotonic = monotonic
        # Only the agent writes these, and it has not begun.
        sweep(folder, ("update.json", "pointer.json", BAKE_FILE))
        self._store = DeploymentStore(folder)
        self._slots = Slots(folder)
        self._steps = Steps(deployment, folder, self._slots, surroundings)
        self._update = self._store.load()
        self._baking = Baking(folder, now=monotonic())
        self._lock = RLock()
        #: Counts turns of the machine: a slow step whose turn is over is cancelled, its result dropped.
        self._turn = 0
        self._retry_at: float | None = None
        self._hold = hold
        #: What was decided and is not on disk.
        self._unwritten: Event | None = None
        #: Why something waits that the disk should take; empty = nothing does.
        self._hindrance = ""
        self._trial = Trial(monotonic())
        #: This process counted its start in the trial, on disk: the candidate may answer.
        self._trying = False
        #: What `running` says; replaced as a whole.
        self._running = Running(active=self._slots.active, candidate=None)
        self._closed = False

    # -- what the agent says ---------------------------------------------------------

    def resume(self) -> None:
        """Go on where the last process ended; a start in mid probe or TRIAL is counted before the candidate runs."""
        with self._changing():
            active = self._slots.start(committed=committed(self._update), fallen=self._update.fallen)
            if not self._around.has_disk:
                # A report would go into a spool that ends with this process, and count as given.
                self._hindrance = "the disk took nothing when the agent started"
                return
            update = self._update
            self._baking.start(update, now=self._monotonic())
            lost = active is None or update.wanted is None or active.digest != update.wanted.digest
            if is_tried(update):
                self._decide(machine.boot(update))
            elif update.state is UpdateState.COMMITTED and update.reported and lost:
                self._decide(Lost())
            elif (unheard := machine.loss_of_report(update, spool=self._around.spool.id.hex())) is not None:
                self._decide(unheard)
            else:
                self._act(machine.resume(update))

    def fall(self) -> None:
        """Before `resume`: the active model is taken for what ends the agent at its starts, and answers no more."""
        with self._changing():
            event = machine.fall(self._update, active=self._slots.pointer.active)
            if event is None:
                return
            try:
                self._apply(event)
            except DiskError as error:
                _log.warning("update.fall-unwritten deployment=%s error=%s", self._deployment, error)
                return
            _log.error("update.fallen deployment=%s digest=%s", self._deployment, event.digest)

    def desire(self, desired: DesiredDeployment, *, epoch: int, revision: int) -> None:
        """Take in what a verified desired state says of this deployment; repeated and older ones do nothing.

        Raises:
            MessageError: it names a target without a digest, or a digest without a target.
            DiskError: the state cannot be written; nothing was taken in.
        """
        wanted = Wanted.of(desired, epoch=epoch, revision=revision)
        with self._changing():
            event = machine.desired(self._update, wanted, active=self._slots.pointer.active)
            if event is not None:
                try:
                    self._apply(event)
                    self._look_soon()
                except DiskError as error:
                    # It comes again; meanwhile the server sees why.
                    self._tell(error)
                    raise

    def hold(self, hold: Hold | None) -> None:
        """The owner lets no update begin, or lets them again (None); a trial that has begun goes on."""
        with self._changing():
            self._hold = hold
            self._look_soon()
            update, leave = self._update, self._leave()
            if leave is not None and update.state is UpdateState.FETCHING and not machine.is_deferred(update):
                # What is pulled now is for later: the line may be what the owner wants back.
                self._decide(leave)

    def trial_inference(self, *, ok: bool, latency_us: int, detail: str = "") -> None:
        """The candidate answered a real input, or failed to; that it cannot be loaded counts as a failure too.

        It is counted here and judged by the next `tick`; one that failed answers no more from here on.
        """
        trial, running = self._trial, self._running
        if running.candidate is None:
            return
        trial.count(ok=ok, latency_us=latency_us, detail=detail, now=self._monotonic())
        if not ok:
            self._running = Running(active=running.active, candidate=None)
            self._on_change()

    def trial_starves(self, why: str) -> None:
        """The source of a candidate's inputs failed: if none come, the trial ends with the reason."""
        if self._running.candidate is not None:
            self._trial.starve(why)

    def acknowledged(self) -> None:
        """Call after `Spool.acknowledge`: commits when the ack covers the trial's evidence."""
        with self._changing():
            self._check_acknowledged()

    def tick(self) -> None:
        """Take up what waits, end what has waited too long."""
        with self._changing():
            if not self._around.has_disk:
                return
            now = self._monotonic()
            self._baking.tick(self._update, now=now)
            if self._retry_at is not None and now >= self._retry_at:
                self._retry_at = None
                self._retry()
            if self._update.state is UpdateState.TRIAL:
                self._check_acknowledged()
            if self._update.state is UpdateState.TRIAL:
                self._judge_trial(now)

    def settle(self) -> None:
        """Judge the trial on what it saw; for any thread, before it is stored that these inputs are over."""
        with self._changing():
            if self._around.has_disk and self._update.state is UpdateState.TRIAL:
                self._judge_trial(self._monotonic())

    def contact(self) -> None:
        """Call after a new connection: what waits is taken up at once."""
        with self._lock:
            self._look_soon()

    def close(self) -> None:
        """Cancel slow steps; the next process resumes them."""
        with self._lock:
            self._closed = True

    # -- what the agent asks -----------------------------------------------------------

    @property
    def mark(self) -> tuple[int, int]:
        """The newest (epoch, revision) taken in."""
        return self._update.mark

    @property
    def standing(self) -> Standing:
        """What a start of the agent says something of."""
        with self._lock:
            return standing(self._update, active=self._slots.pointer.active)

    @property
    def is_empty(self) -> bool:
        """Whether it runs nothing, does nothing and owes no report."""
        with self._lock:
            update = self._update
            rests = update.state in RESTING and update.reported and update.next is None and self._unwritten is None
            return rests and self._slots.pointer.active is None

    @property
    def damaged(self) -> int:
        """Files of this deployment that were not as they should be, since this process started."""
        return self._slots.damaged + self._store.damaged + self._baking.damaged

    def running(self) -> Running:
        """What shall answer now; never waits."""
        return self._running

    def state(self) -> DeploymentState:
        """For the reported state."""
        with self._lock:
            update, pointer = self._update, self._slots.pointer
            wanted, missing = update.wanted, self._missing()
            under_way = update.state not in RESTING and wanted is not None
            return DeploymentState(
                deployment=self._deployment,
                state=update.state,
                active=pointer.active,
                previous=pointer.previous,
                candidate=wanted.digest if under_way and wanted is not None else None,
                installation=wanted.installation if wanted is not None else None,
                reason=Reason.DISK if self._hindrance else update.reason,
                detail=self._hindrance or update.detail,
                hold="" if self._hold is None else self._hold.words,
                instead_of=missing,
                fallen=missing is not None and missing in update.fallen,
            )

    def _missing(self) -> str | None:
        """What was committed here and does not answer: damaged, gone from this disk, or fallen."""
        update = self._update
        if update.state is UpdateState.COMMITTED and not update.reported:
            return None  # the pointer is about to follow
        missing = committed(update)
        return None if missing == self._slots.pointer.active else missing

    # -- decide, persist, act --------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, and tell of a change after giving it back."""
        with self._lock:
            before = self._standing()
            try:
                yield
            finally:
                self._running = self._shall_run()
                changed = before != self._standing()
        if changed:
            self._on_change()

    def _standing(self) -> tuple[object, ...]:
        return (self._update, self._slots.pointer, self._hindrance, self._running, self._hold)

    def _shall_run(self) -> Running:
        """A candidate answers from when its trial began in this process until it failed or its end is decided."""
        ends = self._trial.has_failed or isinstance(self._unwritten, TrialFailed)
        answers = self._trying and self._update.state is UpdateState.TRIAL and not ends
        candidate = self._slots.slot(Candidate.of(self._update).digest) if answers else None
        watched = self._around.has_disk and (candidate is not None or self._update.state is not UpdateState.TRIAL)
        shadowing = self._baking.shadowing(self._update) if watched else None
        active, shadow = self._slots.active, None
        if shadowing is not None and shadowing.share > 0:
            shadow = active if candidate is not None else self._before()
        return Running(active=active, candidate=candidate, shadow=shadow, shadowing=shadowing)

    def _before(self) -> Slot | None:
        """The model before the one that was committed."""
        pointer, wanted = self._slots.pointer, self._update.wanted
        is_committed = wanted is not None and pointer.active == wanted.digest
        return None if pointer.previous is None or not is_committed else self._slots.slot(pointer.previous)

    def _apply(self, event: Event) -> None:
        """Raises DiskError when the new state cannot be written; the old one then still holds."""
        update, command = machine.step(self._update, event)
        if update != self._update:
            try:
                self._store.save(update)
            except OSError as error:
                raise DiskError(
                    f"cannot write the state of deployment {self._deployment!r}: {error}; check disk space"
                ) from error
            if update.state is not self._update.state:
                _log.info(
                    "update.state deployment=%s state=%s reason=%s", self._deployment, update.state, update.reason
                )
            if update.state is not UpdateState.TRIAL:
                self._trying = False
            self._update = update
            self._baking.follow(update, now=self._monotonic())
            self._hindrance = ""
        self._act(command, passing=saved(update.state))

    def _decide(self, event: Event) -> None:
        """Apply what happened; where that cannot be written down, it is kept and tried again."""
        try:
            self._apply(event)
        except DiskError as error:
            self._unwritten = event
            self._trial.wait(self._monotonic())
            self._hinder(error)

    def _retry(self) -> None:
        """What was hindered is done: the decision is written down, else the command of what is on disk carried out."""
        event, self._unwritten = self._unwritten, None
        if event is None:
            leave = self._leave() if machine.is_deferred(self._update) else None
            if leave is None:
                self._act(machine.resume(self._update))
            else:
                self._decide(leave)
        elif machine.allows(self._update, type(event)):
            self._decide(event)

    def _hinder(self, error: Exception) -> None:
        self._tell(error)
        self._retry_at = self._monotonic() + limits.RETRY_MIN.total_seconds()

    def _tell(self, error: Exception) -> None:
        """It is tried every second; server and log hear of it once."""
        if not self._hindrance:
            _log.warning("update.delayed deployment=%s error=%s", self._deployment, error)
            self._hindrance = str(error)[: limits.MAX_DETAIL_LENGTH]

    def _act(self, command: Command, *, passing: FailPoint | None = None) -> None:
        """Carry out a command; what hinders it delays it, for the state is on disk and says what is to be done."""
        if command is not Command.NONE:
            # First of all: what a slow step found no longer counts.
            self._turn += 1
            self._retry_at = None
            self._unwritten = None
        try:
            if passing is not None:
                reach(passing)
            self._carry_out(command)
            if self._unwritten is None and command is not Command.NONE and self._retry_at is None:
                self._hindrance = ""
        except (OSError, PlatformError) as error:
            self._hinder(error)
        except Exception:  # noqa: BLE001 - a task's border: callers answer inputs and talk to the server
            _log.exception("update.unforeseen deployment=%s command=%s", self._deployment, command)
            self._wait()

    def _leave(self) -> Deferred | None:
        """Why the update may not go on now; None = it may."""
        return obstacle(self._update, hold=self._hold, now=self._around.now())

    def _carry_out(self, command: Command) -> None:  # noqa: C901 - one case a command
        match command:
            case Command.FETCH | Command.VERIFY | Command.STAGE | Command.PROBE | Command.CHECK_LISTED:
                self._start(command)
            case Command.START_TRIAL:
                self._start_trial()
            case Command.SEND_EVIDENCE:
                self._send_evidence()
            case Command.COMMIT:
                self._commit()
            case Command.ROLL_BACK:
                self._slots.collect()
                reach_after(command)
                self._apply(Settled())
            case Command.CLEAR:
                self._slots.clear()
                reach_after(command)
            case Command.REPORT:
                self._report()
            case Command.TAKE_NEXT:
                if self._update.next is not None:
                    reach_after(command)
                    self._apply(machine.begin(self._update.next, active=self._slots.pointer.active))
            case Command.WAIT:
                self._wait()
            case Command.NONE:
                return
            case _:
                assert_never(command)

    def _look_soon(self) -> None:
        """What waits is looked at with the next tick."""
        if self._retry_at is not None:
            self._retry_at = self._monotonic()

    def _wait(self) -> None:
        self._retry_at = self._monotonic() + limits.UPDATE_RETRY_AFTER.total_seconds()

    # -- quick commands ------------------------------------------------------------------------

    def _start_trial(self) -> None:
        self._begin_trial()
        digest = Candidate.of(self._update).digest
        reach_after(Command.START_TRIAL)
        if not self._slots.holds(digest):
            self._apply(TrialFailed(Reason.DISK, f"the slot of {digest} is damaged", self._update.evidence))

    def _begin_trial(self) -> None:
        self._trial = Trial(self._monotonic())
        self._trying = True

    def _send_evidence(self) -> None:
        update = self._update
        if not self._trying:
            self._begin_trial()
        self._trial.wait(self._monotonic())
        report = evidence_report(self._deployment, update)
        key = report_key(self._deployment, update)
        seq = self._around.spool.append(UpKind.REPORTS, encode(report), once=key)
        reach_after(Command.SEND_EVIDENCE)
        self._apply(EvidenceSpooled(seq))
        self._check_acknowledged()

    def _commit(self) -> None:
        digest = Candidate.of(self._update).digest
        if not self._slots.holds(digest):
            self._apply(Lost())
            return
        self._slots.commit(digest)
        self._slots.collect()
        reach_after(Command.COMMIT)
        self._apply(Settled())

    def _report(self) -> None:
        report = final_report(self._deployment, self._update)
        if report is not None:
            key = report_key(self._deployment, self._update)
            self._around.spool.append(UpKind.REPORTS, encode(report), once=key)
        reach_after(Command.REPORT)
        self._apply(Reported(self._around.spool.id.hex()))

    def _judge_trial(self, now: float) -> None:
        """What is decided and not written down is not decided again, but by what outweighs it."""
        trial, unwritten = self._trial, self._unwritten
        if isinstance(unwritten, TrialFailed):
            return
        evidence, quiet = trial.evidence(), timedelta(seconds=now - trial.since)
        if unwritten is None:
            verdict = machine.trial_verdict(self._update, evidence, detail=trial.detail, quiet=quiet)
        else:
            verdict = machine.unwritten_verdict(evidence, detail=trial.detail, quiet=quiet)
        if verdict is not None:
            self._decide(verdict)

    def _check_acknowledged(self) -> None:
        update = self._update
        if update.state is not UpdateState.TRIAL or update.evidence_seq is None:
            return
        if self._around.spool.is_acknowledged(update.evidence_seq) and self._unwritten is None:
            self._decide(Acknowledged())

    # -- slow commands ---------------------------------------------------------------------------

    def _start(self, command: Command) -> None:
        leave = self._leave() if command in (Command.FETCH, Command.PROBE) else None
        if leave is not None:
            self._apply(leave)
            return
        turn = self._turn

        def cancelled() -> bool:
            # Whoever asks this turns; how long a turn may bring nothing has limits of its own.
            self._around.turned()
            return self._closed or self._turn != turn

        def work() -> None:
            if cancelled():
                return
            self._finished(self._step(command, self._update, cancelled), turn)

        if not self._closed:
            self._around.submit(work)

    def _step(self, command: Command, update: Update, cancelled: Callable[[], bool]) -> Event:
        event: Event
        try:
            event = self._perform(command, update, cancelled)
            reach_after(command)
        except Exception as error:  # noqa: BLE001 - a task's border: nobody would end an update whose task died
            _log.exception("update.unforeseen deployment=%s command=%s", self._deployment, command)
            event = Failed(_UNFORESEEN[command], f"{type(error).__name__}: {error}"[: limits.MAX_DETAIL_LENGTH])
        return event

    def _perform(self, command: Command, update: Update, cancelled: Callable[[], bool]) -> Event:
        match command:
            case Command.FETCH:
                return self._steps.fetch(update, cancelled)
            case Command.VERIFY:
                return self._steps.verify(update)
            case Command.STAGE:
                return self._steps.stage(update)
            case Command.PROBE:
                return self._steps.probe(update)
            case _:
                return self._steps.check_listed(update, cancelled)

    def _finished(self, event: Event, turn: int) -> None:
        with self._changing():
            if not self._closed and self._turn == turn:
                self._decide(machine.admitted(event, self._leave()))


def reach_after(command: Command) -> None:
    """The fail point between an act and what comes of it."""
    point = did(command)
    if point is not None:
        reach(point)
