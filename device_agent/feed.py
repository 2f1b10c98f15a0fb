"""The thread of one deployment: reads its source at its pace and lets the core answer.

It follows what others decide: which models shall run (`Updates.running`), what the owner configured, and
whether a live source was attached. `look_again` says that one of them changed; what else crosses the threads
is a question for a copy of the pool. An error of a source, a model or a sink is counted, kept for `status`, and
tried again with back-off.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from queue import SimpleQueue
from threading import Event, Thread

import msgspec

from device_agent.config import Deployment, Replay
from device_agent.core import DeploymentCore
from device_agent.lane import Charge
from device_agent.pacing import Backoff, Pacer
from device_agent.pairing import Shadow
from device_agent.pool import Pooled
from device_agent.shadow import Shadows
from device_agent.sinks.sink import Sink
from device_agent.sources.source import Rows, Source
from device_agent.store.slots import Slot
from device_agent.store.tray import Tray
from device_agent.updates import Running, Updates
from device_agent.watchdog import Pulse
from edgeops.artifact.manifest import InputWindow
from edgeops.errors import ConflictError, EdgeOpsError
from edgeops.model.model import Model
from edgeops.protocol.messages import Phase

_log = logging.getLogger(__name__)

#: Rows asked of a source at a time.
_CHUNK_ROWS = 64
#: A deployment without anything to do looks at its windows this often.
_TICK_S = 0.25
#: A candidate that failed is taken back within this.
_GLANCE_S = 0.01
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """How far one order to replay has come."""

    run: str
    position: int


@dataclass(frozen=True, slots=True)
class _Question:
    """What `pooled` wants to know."""

    digest: str
    within_ns: int | None
    answer: Future[Pooled]


@dataclass(frozen=True, slots=True)
class Wiring:
    """How configuration becomes sources and sinks."""

    source: Callable[[Replay], Source]
    sinks: Callable[[str, Deployment], Sequence[Sink]]
    #: The owner's present choices for a deployment.
    configuration: Callable[[str], Deployment]
    #: What time it is; None = nobody knows.
    now: Callable[[], datetime | None]


class Feed:
    """One deployment at work."""

    def __init__(
        self, deployment: str, *, updates: Updates, tray: Tray, wiring: Wiring, pulse: Pulse | None = None
    ) -> None:
        self._pulse = pulse or Pulse()
        self.core = DeploymentCore(
            deployment,
            keeper=tray,
            clock_ns=time.perf_counter_ns,
            trial=updates.trial_inference,
            seed=secrets.randbits(32),
        )
        #: What the source is doing, for `status`.
        self.source_state = "none"
        self.source_errors = 0
        self.model_errors = 0
        #: Lines of streams that have ended; see `refused_lines`.
        self._refused_lines = 0
        self._deployment = deployment
        self._updates = updates
        self._tray = tray
        self._wiring = wiring
        self._news = Event()
        self._news.set()
        #: News that could not be followed yet.
        self._stale = False
        self._stopping = False
        self._models: dict[str, Model] = {}
        #: What the core runs: in charge, incumbent, shadow, and how early windows close.
        self._plan: tuple[Charge | None, Charge | None, Shadow | None, int | None] = (None, None, None, None)
        self.shadows = Shadows(deployment, on_news=self._news.set)
        #: When the active model is loaded again; None = it is loaded, or there is none.
        self._reload: Backoff | None = None
        self._configuration: Deployment | None = None
        self._source: Source | None = None
        #: A live source that waits to be turned to, and why the present one shall end.
        self._attached: tuple[str, Source] | None = None
        self._detached: str | None = None
        #: Columns that the present source offers; None = that is not known.
        self.offered: tuple[str, ...] | None = None
        self._questions: SimpleQueue[_Question] = SimpleQueue()
        #: What the present source was asked for.
        self._selected: tuple[tuple[str, ...], InputWindow | None] | None = None
        self._pacer = Pacer(None)
        self._retry = Backoff()
        self._thread = Thread(target=self._run, name=f"feed-{deployment}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look_again(self) -> None:
        """The models that shall run, or the configuration, may have changed; never blocks."""
        self._news.set()

    @property
    def refused_lines(self) -> int:
        """Lines of live sources that were no rows."""
        return self._refused_lines + (self._source.refused if self._source is not None else 0)

    @property
    def has_source(self) -> bool:
        """Whether rows come from somewhere, or soon will."""
        return self._source is not None or self._attached is not None

    def attach(self, source: Source, *, run: str) -> None:
        """Turn to a live source; `run` names it.

        Raises:
            ConflictError: the deployment has a source.
        """
        order = self._wiring.configuration(self._deployment).source
        if order is not None:
            raise ConflictError(
                f"{self._deployment} replays {order.file}; end that first: "
                f"edgeops-agent stop --deployment {self._deployment}"
            )
        if self._attached is not None or self._is_fed():
            raise ConflictError(f"{self._deployment} is being fed already; one source at a time")
        self._attached = (run, source)
        self._news.set()

    def detach(self, reason: str) -> None:
        """End a live source, if there is one."""
        self._detached = reason
        self._news.set()

    def pooled(self, digest: str, *, within_ns: int | None, timeout_s: float) -> Pooled:
        """What `DeploymentCore.pooled` says, asked of the deployment's own thread.

        Raises:
            TimeoutError, CancelledError: it did not answer, or ends.
        """
        question = _Question(digest, within_ns, Future())
        self._questions.put(question)
        self._news.set()
        return question.answer.result(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Close the window, flush the sinks, end the thread."""
        self._stopping = True
        self._news.set()
        self._thread.join(timeout_s)

    # -- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._pulse.beat()
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - the border of this task: whatever it was, the deployment goes on
                self._source_failed(error)
        self.core.use_sinks(())
        self._let_go("the agent stopped")
        while not self._questions.empty():
            self._questions.get().answer.cancel()
        self.shadows.end()
        for model in self._models.values():
            model.close()

    def _turn(self) -> None:
        """Look at what is new, play what is due, let time pass."""
        again = self._retry if self._stale else self._reload
        if self._news.is_set() or (again is not None and again.wait_s() == 0):
            self._news.clear()
            self._stale = True
            self._follow()
            self._stale = False
        self._answer_questions()
        wait_s = self._play()
        self.core.tick()
        if wait_s > 0:
            self._news.wait(min(wait_s, _TICK_S))

    def _follow(self) -> None:
        """Make the core run what shall run, on the source and sinks that are configured."""
        self._put_in_charge(self._updates.running())
        configuration = self._wiring.configuration(self._deployment)
        if configuration != self._configuration:
            self._configure(configuration)
        if self._detached is not None:
            if self._is_fed():
                self._turn_to(None, run="", rate_hz=None, reason=self._detached)
            self._detached = None
        if self._attached is not None:
            run, source = self._attached
            self._turn_to(source, run=run, rate_hz=None)
            self._attached = None

    def _answer_questions(self) -> None:
        while not self._questions.empty():
            question = self._questions.get()
            try:
                question.answer.set_result(self.core.pooled(question.digest, within_ns=question.within_ns))
            except Exception as error:  # noqa: BLE001 - whoever asked hears of it
                question.answer.set_exception(error)

    def _configure(self, configuration: Deployment) -> None:
        last = self._configuration
        self.core.allow_samples(allowed=configuration.samples)
        if last is None or _sinks_of(last) != _sinks_of(configuration):
            self.core.use_sinks(self._wiring.sinks(self._deployment, configuration))
        if last is None or last.source != configuration.source:
            self._open(configuration.source)
        self._configuration = configuration

    def _open(self, order: Replay | None) -> None:
        """Turn to what is configured, at the place where this order to replay stood last."""
        if order is None:
            self._turn_to(None, run="", rate_hz=None)
        else:
            source = self._wiring.source(order)
            self._turn_to(source, run=order.run, rate_hz=order.rate_hz, reason=f"{order.file} is replayed now")

    def _turn_to(self, source: Source | None, *, run: str, rate_hz: float | None, reason: str = "") -> None:
        """Let go of the present source and begin this one; `reason` is for whoever feeds the present one."""
        stored = self._tray.checkpoint(self._deployment)
        last = msgspec.msgpack.decode(stored, type=Checkpoint) if stored is not None else None
        position = last.position if last is not None and last.run == run else 0
        self.core.use_source(position, lambda at: msgspec.msgpack.encode(Checkpoint(run, at)))
        self._let_go(reason)
        self._source = source
        self.offered = None if source is None else source.offers()
        self._selected = None
        self._pacer = Pacer(rate_hz)
        self._retry = Backoff()
        self.source_state = "waiting for a model" if source is not None else "none"

    def _is_fed(self) -> bool:
        """Whether a live source is at work."""
        return self._source is not None and self._source.live

    def _let_go(self, reason: str) -> None:
        if self._source is not None:
            self._refused_lines += self._source.refused
            self._source.close(reason)
            self._source = None

    def _put_in_charge(self, running: Running) -> None:
        self.shadows.leave_hung(self._models)
        active = self._charge(running.active, Phase.LIVE)
        if active is not None or running.active is None:
            self._reload = None
        else:
            self._reload = self._reload or Backoff()
            self._reload.failed()
        candidate = self._charge(running.candidate, Phase.TRIAL)
        charge = active if candidate is None else candidate
        # What is watched is one model, and it may not have loaded.
        is_there = charge is not None and (candidate is None) == (running.candidate is None)
        watched = running.shadowing if is_there else None
        shadow = self.shadows.follow(running.shadow, watched, self._models)
        plan = (charge, None if candidate is None else active, shadow, None if watched is None else watched.window_ms)
        if plan != self._plan:
            self._arrange(*plan)
            self._plan = plan
        beside = None if shadow is None else shadow.charge
        wanted = {entry.digest for entry in (active, candidate, beside) if entry is not None}
        for digest in [digest for digest in self._models if digest not in wanted]:
            self._models.pop(digest).close()

    def _arrange(
        self, charge: Charge | None, incumbent: Charge | None, shadow: Shadow | None, window_ms: int | None
    ) -> None:
        before = self.core.charge
        self.core.put_in_charge(charge, incumbent=incumbent, shadow=shadow, window_ms=window_ms)
        if charge != before:
            self._retry = Backoff()
            _log.info("model.in-charge", extra={"deployment": self._deployment, **_described(charge)})
        if shadow is not None:
            _log.info("shadow.begins", extra={"deployment": self._deployment, **_described(shadow.charge)})

    def _charge(self, slot: Slot | None, phase: Phase) -> Charge | None:
        """The slot's model, loaded; None when there is none, or it cannot be used."""
        if slot is None:
            return None
        try:
            if slot.digest not in self._models:
                self._models[slot.digest] = Model.load(slot.path)
            return Charge(slot.digest, phase, self._models[slot.digest])
        except Exception as error:  # noqa: BLE001 - a damaged file must not end the deployment
            self.model_errors += 1
            _log.warning(
                "model.unusable", extra={"deployment": self._deployment, "digest": slot.digest, "error": error}
            )
            if phase is Phase.TRIAL:
                self._updates.trial_inference(ok=False, latency_us=0, detail=f"cannot be loaded: {error}")
            return None

    def _play(self) -> float:
        """Answer the rows that are due; how long nothing more will be, in seconds."""
        core = self.core
        if self._source is None or core.charge is None or self._retry.wait_s() > 0:
            return _TICK_S
        if self._selected != (core.columns, core.window) and not self._select(self._source):
            return _GLANCE_S
        due = self._pacer.due(_CHUNK_ROWS)
        if due == 0:
            return self._pacer.wait_s()
        if self._pacer.unpaced and not self._source.live and self._tray.is_crowded:
            self.source_state = "waiting for the server"
            return _TICK_S
        rows = self._source.read(due)
        if rows is None:
            core.close_window()
            # Who fed the rows hears how many were taken: they are in the spool then.
            if self._tray.settled(_TICK_S):
                self._let_go("")
                self.source_state = "ended"
            return _TICK_S
        self.source_state = "playing" if rows.ids else "waiting for rows"
        self._answer(self._source, rows)
        return 0.0

    def _answer(self, source: Source, rows: Rows) -> None:
        core, news, pulse = self.core, self._news, self._pulse
        first = rows.position - len(rows.ids)
        times = rows.at_ns if rows.at_ns is not None else repeat(None, len(rows.ids))
        moments = self._moments(source, rows)
        taken = enumerate(zip(rows.values, rows.ids, times, moments, strict=True), start=first + 1)
        try:
            for position, (row, input_id, at_ns, moment_ns) in taken:
                core.take(row, input_id, position, at_ns=at_ns, moment_ns=moment_ns)
                pulse.turns += 1
                if news.is_set():
                    break
        finally:
            # What was read and not played is read again, perhaps with other columns.
            source.seek(core.position)
            self._pacer.played(core.position - first)

    def _moments(self, source: Source, rows: Rows) -> Iterable[int | None]:
        """When each row was measured: a file says so, and what is live was measured when it came."""
        if rows.moments_ns is not None:
            return rows.moments_ns
        is_asked = self.core.window is not None and self.core.window.time is not None
        now = self._wiring.now() if source.live and is_asked else None
        if now is None:
            return repeat(None, len(rows.ids))
        now_ns, ticks_ns = (now - _EPOCH) // _MICROSECOND * 1000, time.monotonic_ns()
        came_ns = rows.at_ns or repeat(None, len(rows.ids))
        return [now_ns if at_ns is None else now_ns - (ticks_ns - at_ns) for at_ns in came_ns]

    def _select(self, source: Source) -> bool:
        """Have the source give what the model reads; False = it cannot, and the candidate has heard of it."""
        core = self.core
        try:
            source.select(core.columns, core.window)
        except EdgeOpsError as error:
            if core.needed != core.columns and self._gives(source, core.needed):
                self.shadows.give_up(f"the source does not give what it reads: {error}")
                return False
            # A source that served the incumbent and cannot serve the candidate is the candidate's failure, which
            # the incumbent does not wait for.
            if self._selected is not None and core.charge is not None and core.charge.phase is Phase.TRIAL:
                self._updates.trial_inference(ok=False, latency_us=0, detail=str(error))
                return False
            raise
        source.seek(core.position)
        self._selected = core.columns, core.window
        self._pacer.restart()
        return True

    def _gives(self, source: Source, columns: Sequence[str]) -> bool:
        try:
            source.select(columns, self.core.window)
        except EdgeOpsError:
            return False
        return True

    def _source_failed(self, error: Exception) -> None:
        self.source_errors += 1
        self.source_state = f"failed: {error}"
        self._updates.trial_starves(str(error))
        pause_s = self._retry.failed()
        _log.warning(
            "source.failed",
            extra={"deployment": self._deployment, "retry_s": pause_s, "error": error},
            exc_info=None if isinstance(error, EdgeOpsError) else error,
        )
        self._news.wait(min(pause_s, _TICK_S))


def _sinks_of(configuration: Deployment) -> tuple[object, ...]:
    return configuration.predictions, configuration.jsonl, configuration.mqtt


def _described(charge: Charge | None) -> dict[str, str]:
    return {} if charge is None else {"digest": charge.digest, "phase": charge.phase}
