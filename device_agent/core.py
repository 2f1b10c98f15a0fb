"""One deployment without threads: rows go in, answers go to sinks, telemetry windows to whoever keeps them.

The inputs that the model in charge answered stay in its pool, to nominate from. A candidate fills a pool of its own
from its first answer on, which counts once it is committed; that of the incumbent waits for the end of the TRIAL.

A second model may have the same rows: the incumbent, which actuating sinks hear while a candidate is in TRIAL, or a
shadow, which nobody hears and whose answers to a share of the inputs are held against those of the model in charge.

Whoever owns a `DeploymentCore` calls it from one thread and tells it the time through a clock. It decides
when a window closes and what a row counts as. It loads no model, reads no source and knows no network.

The path of a row is written for speed: one call, no lock, no logging, no allocation beyond the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from device_agent.lane import Charge, Lane
from device_agent.pairing import Answered, Pairing, Shadow, percentiles_us
from device_agent.pool import Pool, Pooled
from device_agent.sinks.sink import Sink
from edgeops import limits
from edgeops.artifact.manifest import InputWindow
from edgeops.digest import digest_raw
from edgeops.protocol import messages
from edgeops.protocol.messages import Phase
from edgeops.protocol.topics import UpKind
from edgeops.sketch.packing import pack

_WINDOW_AGE_NS = int(limits.WINDOW_AGE.total_seconds() * 1e9)
_WINDOW_IDLE_NS = int(limits.WINDOW_IDLE.total_seconds() * 1e9)
_RETRY_MIN_NS = int(limits.RETRY_MIN.total_seconds() * 1e9)
_RETRY_MAX_NS = int(limits.RETRY_MAX.total_seconds() * 1e9)


class TrialWatch(Protocol):
    """Is told about every real input that a candidate answered, or failed to."""

    def __call__(self, *, ok: bool, latency_us: int, detail: str = "") -> None: ...  # noqa: D102 - the class says it


class Keeper(Protocol):
    """Takes what was closed, in order, and never waits for a disk."""

    def append(self, kind: UpKind, data: bytes, *, checkpoint: tuple[str, bytes] | None = None) -> object:
        """One record, and (deployment, position) of the source behind it, which are stored together."""


@dataclass(slots=True)
class Totals:
    """What happened since the start, for `status`."""

    source_rows: int = 0
    answers: int = 0
    errors: int = 0
    sink_errors: int = 0
    windows: int = 0
    #: Of the last closed window.
    latency_p50_us: int = 0
    latency_p95_us: int = 0
    #: The last error of a model or a sink, for people.
    detail: str = ""


class _Beside:
    """The second model on the same rows: in TRIAL the incumbent, which actuating sinks hear; or a shadow."""

    __slots__ = ("answered", "guards", "lane", "pairing", "window")

    def __init__(self, lane: Lane, *, guards: bool, pairing: Pairing | None) -> None:
        self.lane = lane
        #: It answers every input, for actuating sinks.
        self.guards = guards
        #: None = its answers are not held against the others.
        self.pairing = pairing
        #: Of the row that is being taken.
        self.window: NDArray[np.float32] | None = None
        self.answered: Answered | None = None


@dataclass(slots=True)
class _Rest:
    """A sink that failed is left alone until then; failing again soon doubles the pause."""

    until_ns: int
    pause_ns: int
    over: bool = False


class DeploymentCore:
    """One named deployment."""

    def __init__(
        self,
        deployment: str,
        *,
        keeper: Keeper,
        clock_ns: Callable[[], int],
        trial: TrialWatch,
        seed: int = 0,
    ) -> None:
        """`seed` is what decides which inputs a shadow answers."""
        self.deployment = deployment
        self.totals = Totals()
        #: What a row must hold, in this order; empty without a model.
        self.columns: tuple[str, ...] = ()
        #: What the model in charge reads at once, with the time column of the second model where it has none.
        self.window: InputWindow | None = None
        #: Of them, without what only a shadow reads.
        self.needed: tuple[str, ...] = ()
        self._seed = seed
        self._keeper = keeper
        self._clock_ns = clock_ns
        self._trial = trial
        self._sinks: tuple[Sink, ...] = ()
        self._rests: dict[int, _Rest] = {}
        #: Sinks for which no model answers and that were told so.
        self._at_rest: set[int] = set()
        #: By sinks that were replaced.
        self._dropped = 0
        #: By lanes that were replaced.
        self._disordered = 0
        self._lane: Lane | None = None
        self._beside: _Beside | None = None
        self._incumbent: Charge | None = None
        self._shadow: Shadow | None = None
        self._window_ns = _WINDOW_AGE_NS
        #: By digest: of the model in charge and, in TRIAL, of its incumbent.
        self._pools: dict[str, Pool] = {}
        self._pooling = True
        self._position = 0
        self._checkpoint: Callable[[int], bytes] | None = None
        self._latencies: list[int] = []
        self._opened_ns = self._last_row_ns = clock_ns()
        self._source_rows = 0
        self._errors = 0

    # -- what the owner sets ------------------------------------------------------

    @property
    def charge(self) -> Charge | None:
        """Who answers now; None is NO_MODEL."""
        return self._lane.charge if self._lane is not None else None

    @property
    def shadow(self) -> Shadow | None:
        """Who answers a share of the inputs beside it."""
        return self._shadow

    @property
    def dropped(self) -> int:
        """Answers that sinks gave up since the start."""
        return self._dropped + sum(sink.dropped for sink in self._sinks)

    @property
    def disordered(self) -> int:
        """Rows since the start that were no later than the one before, where they are put on a model's grid."""
        return self._disordered + (0 if self._lane is None else self._lane.disordered)

    @property
    def position(self) -> int:
        """The source position after the last row taken."""
        return self._position

    @property
    def source_rows(self) -> int:
        """Rows taken since the start."""
        return self.totals.source_rows + self._source_rows

    def use_sinks(self, sinks: Sequence[Sink]) -> None:
        """From now on these sinks hear the answers; the window of the old ones is closed."""
        self.close_window()
        old, self._sinks = self._sinks, tuple(sinks)
        self._rests.clear()
        self._at_rest.clear()
        for sink in old:
            self._dropped += sink.dropped
            sink.close()
        self._arrange(self.charge)

    def allow_samples(self, *, allowed: bool) -> None:
        """Whether inputs may be nominated; where they may not, none is kept."""
        if allowed != self._pooling:
            self._pooling = allowed
            self._stock()

    def use_source(self, position: int, checkpoint: Callable[[int], bytes]) -> None:
        """Rows that come now belong to a source that stands at `position`; closes the window of the last one.

        `checkpoint` turns a position into what is stored with a window.
        """
        self.close_window()
        self._position = position
        self._checkpoint = checkpoint

    def put_in_charge(
        self,
        charge: Charge | None,
        *,
        incumbent: Charge | None = None,
        shadow: Shadow | None = None,
        window_ms: int | None = None,
    ) -> None:
        """Let `charge` answer; `incumbent` goes on for actuating sinks while `charge` is in TRIAL.

        `shadow`, which in TRIAL is the incumbent, answers a share of the inputs beside it. `window_ms` closes windows
        earlier than usual. What is the same as before goes on without a break.
        """
        self.close_window()
        self._incumbent, self._shadow = incumbent, shadow
        self._window_ns = _WINDOW_AGE_NS if window_ms is None else window_ms * 1_000_000
        self._arrange(charge)

    def pooled(self, digest: str, *, within_ns: int | None = None) -> Pooled:
        """A copy of the inputs that this model answered, if it is in charge; else nothing, and why.

        `within_ns` leaves out what was answered longer ago.
        """
        if reason := self._unpooled(digest):
            return Pooled.nothing(reason)
        pool = self._pools.get(digest)
        now_ns = self._clock_ns()
        since_ns = 0 if within_ns is None else now_ns - within_ns
        copied = None if pool is None else pool.copy(now_ns, since_ns=since_ns)
        if copied is None or not copied.entries:
            return Pooled.nothing("no input was answered " + ("yet" if within_ns is None else "in the time asked for"))
        return copied

    # -- what the owner feeds -------------------------------------------------------

    def take(  # noqa: C901 - written out, for a call costs what the rest of it does
        self,
        row: NDArray[np.float32],
        input_id: str,
        position: int,
        *,
        at_ns: int | None = None,
        moment_ns: int | None = None,
    ) -> None:
        """One source row, float32 of (columns,); `position` is the source's after it. Needs a model in charge.

        `at_ns` is when it came, in nanoseconds on any one clock, `moment_ns` when it was measured, since 1970; None =
        unknown.
        """
        lane = self._lane
        assert lane is not None, "a row came while no model is in charge"
        self._source_rows += 1
        self._position = position
        clock_ns = self._clock_ns
        beside = self._beside
        if beside is not None:
            self._take_beside(beside, row, input_id, at_ns, moment_ns)
        window = None
        try:
            window = lane.push(row if lane.is_whole else lane.own(row, moment_ns), at_ns)
            if window is None:
                self._last_row_ns = clock_ns()
                return
            started_ns = clock_ns()
            prediction = lane.predict(window)
            now_ns = clock_ns()
        except Exception as error:  # noqa: BLE001 - a model is foreign code: whatever it raises, the next row gets its chance
            self._failed(lane, error, window)
            return
        self._last_row_ns = now_ns
        latencies = self._latencies
        latencies.append(now_ns - started_ns)
        if lane.sketcher is not None:
            lane.sketcher.push(prediction.channels)
        if lane.pool is not None:
            lane.pool.keep(window, prediction, input_id, now_ns)
        for sink in lane.sinks:
            try:
                sink.take(input_id, prediction, now_ns)
            except Exception as error:  # noqa: BLE001 - a sink is the world's border: counted, rested, tried again
                self._rest(sink, error, now_ns)
        if beside is not None:
            self._pair(lane, beside, Answered(prediction, now_ns - started_ns))
        if lane.charge.phase is Phase.TRIAL:
            self._trial(ok=True, latency_us=latencies[-1] // 1000)
        if len(latencies) >= limits.WINDOW_ROWS:
            self.close_window()

    def tick(self) -> None:
        """Time passed: close what is old or idle, hand on what waits, wake rested sinks."""
        now_ns = self._clock_ns()
        self._wake(now_ns)
        for sink in self._heard():
            self._guard_sink(sink, sink.tick, now_ns)
        if self._source_rows and (now_ns - self._opened_ns >= self._window_ns or self._is_idle(now_ns)):
            self.close_window()

    def close_window(self) -> None:
        """Hand on the window, if it saw a row, together with the source position."""
        self._flush_sinks()
        lane = self._lane
        if lane is None or self._source_rows == 0:
            self._reset()
            return
        now_ns = self._clock_ns()
        p50_us, p95_us = percentiles_us(self._latencies, (0.50, 0.95))
        answers = len(self._latencies)
        window = messages.Window(
            deployment=self.deployment,
            digest=digest_raw(lane.charge.digest),
            phase=lane.charge.phase,
            rows=answers,
            source_rows=self._source_rows,
            errors=self._errors,
            dropped=0,
            duration_ms=max(0, now_ns - self._opened_ns) // 1_000_000,
            latency_p50_us=p50_us,
            latency_p95_us=p95_us,
            sketch=b"" if lane.sketcher is None else pack(lane.sketcher.sketch()),
            paired=self._paired(),
        )
        checkpoint = None if self._checkpoint is None else (self.deployment, self._checkpoint(self._position))
        self._keeper.append(UpKind.TELEMETRY, messages.encode(window), checkpoint=checkpoint)
        totals = self.totals
        totals.source_rows += self._source_rows
        totals.answers += answers
        totals.windows += 1
        totals.latency_p50_us, totals.latency_p95_us = p50_us, p95_us
        self._reset()

    # -- below ------------------------------------------------------------------------

    def _is_idle(self, now_ns: int) -> bool:
        """Whether the source pauses for longer than it usually does between two rows: a slow one is not idle."""
        usual_ns = (self._last_row_ns - self._opened_ns) // self._source_rows
        return now_ns - self._last_row_ns >= max(_WINDOW_IDLE_NS, limits.WINDOW_IDLE_ROWS * usual_ns)

    def _arrange(self, charge: Charge | None) -> None:
        """Give every model its rows and every sink its voice: actuating ones never hear a candidate in TRIAL."""
        lanes, before = self._lanes(), self._lane
        if charge is None:
            self._lane, self._beside, self.columns, self.needed, self.window = None, None, (), (), None
        else:
            in_trial = charge.phase is Phase.TRIAL and any(sink.actuating for sink in self._sinks)
            guard = self._incumbent if in_trial else None
            self.needed = _united(charge.columns, () if guard is None else guard.columns)
            second = guard or (None if self._shadow is None else self._shadow.charge)
            self.columns = _united(self.needed, () if second is None else second.columns)
            time = charge.window.time or (None if second is None else second.window.time)
            self.window = msgspec.structs.replace(charge.window, time=time)
            self._lane = self._lane_of(charge, lanes)
            self._beside = None
            if second is not None:
                lane = self._lane_of(second, lanes)
                self._beside = _Beside(lane, guards=guard is not None, pairing=self._pairing(charge))
        if before is not None and before is not self._lane:
            self._disordered += before.disordered
        self._stock()
        self._give_voices()
        self._reset()

    def _lane_of(self, charge: Charge, lanes: Sequence[Lane]) -> Lane:
        """The lane that this model has already, with what its input window holds, else a new one."""
        lane = next((lane for lane in lanes if lane.charge == charge), None) or Lane(charge)
        lane.read(self.columns)
        return lane

    def _lanes(self) -> list[Lane]:
        lanes = [] if self._lane is None else [self._lane]
        return lanes if self._beside is None else [*lanes, self._beside.lane]

    def _pairing(self, charge: Charge) -> Pairing | None:
        if self._shadow is None:
            return None
        # Not the same inputs again after each start.
        self._seed += 1
        return Pairing(self._shadow, charge, seed=self._seed, now_ns=self._clock_ns())

    def _stock(self) -> None:
        """Keep the pools of the models that matter, make that of the one in charge, forget the others."""
        charges = [charge for charge in (self.charge, self._incumbent) if charge is not None and self._pooling]
        self._pools = {charge.digest: self._pools[charge.digest] for charge in charges if charge.digest in self._pools}
        if self._lane is None:
            return
        charge = self._lane.charge
        if self._pooling and charge.digest not in self._pools and _fits_sample(charge.model.manifest.window):
            self._pools[charge.digest] = Pool(charge.model.manifest)
        self._lane.pool = self._pools.get(charge.digest)

    def _unpooled(self, digest: str) -> str:
        """Why no input of this model may be nominated; empty if it may."""
        charge = self._incumbent or self.charge
        if charge is None:
            return "no model answers here"
        if charge.digest != digest:
            return f"{digest[:19]} is not in charge here, {charge.digest[:19]} is"
        if charge.phase is Phase.TRIAL:
            return f"{digest[:19]} is still in its trial"
        if not self._pooling:
            return "the owner of the device forbids samples"
        if not _fits_sample(charge.model.manifest.window):
            return f"one input is larger than a sample may be, {limits.MAX_SAMPLE_BYTES} bytes"
        return ""

    def _give_voices(self) -> None:
        """Actuating sinks never hear a candidate in TRIAL; those at rest hear nobody."""
        lane, beside = self._lane, self._beside
        awake = [sink for sink in self._sinks if id(sink) not in self._rests or self._rests[id(sink)].over]
        if lane is not None:
            in_trial = lane.charge.phase is Phase.TRIAL
            lane.hear([sink for sink in awake if not (in_trial and sink.actuating)])
        if beside is not None:
            beside.lane.hear([sink for sink in awake if sink.actuating] if beside.guards else [])
        self._lay_to_rest(awake)

    def _lay_to_rest(self, awake: Sequence[Sink]) -> None:
        """Those for which no model answers give the world their safe output, once."""
        heard = {id(sink) for sink in self._heard()}
        self._at_rest -= heard
        for sink in awake:
            if id(sink) not in heard and id(sink) not in self._at_rest:
                self._at_rest.add(id(sink))
                self._guard_sink(sink, sink.rest, self._clock_ns())

    def _take_beside(
        self, beside: _Beside, row: NDArray[np.float32], input_id: str, at_ns: int | None, moment_ns: int | None
    ) -> None:
        """The second model gets the row too; where it is the incumbent, actuating sinks hear its answer."""
        lane, clock_ns = beside.lane, self._clock_ns
        beside.answered = None
        beside.window = window = lane.push(row if lane.is_whole else lane.own(row, moment_ns), at_ns)
        if window is None or not beside.guards:
            return
        started_ns = clock_ns()
        try:
            prediction = lane.predict(window)
        except Exception as error:  # noqa: BLE001 - as in `take`
            beside.answered = Answered(None, clock_ns() - started_ns, error)
            self.totals.errors += 1
            self.totals.detail = f"{lane.charge.digest}: {error}"
            return
        now_ns = clock_ns()
        beside.answered = Answered(prediction, now_ns - started_ns)
        for sink in lane.sinks:
            try:
                sink.take(input_id, prediction, now_ns)
            except Exception as error:  # noqa: BLE001 - as in `take`
                self._rest(sink, error, now_ns)

    def _pair(self, lane: Lane, beside: _Beside, own: Answered) -> None:
        """Hold what the second model says against `own`; it is asked only now, when the world has its answer."""
        pairing, window = beside.pairing, beside.window
        if pairing is None or not (beside.guards or pairing.chooses()):
            return
        if window is None:
            pairing.unmatched()
            return
        answered = beside.answered
        if answered is None:
            answered = pairing.ask(window, beside_ns=own.took_ns, now_ns=self._clock_ns())
        if answered is None:
            return
        disagrees = pairing.count(own, answered)
        if lane.pool is not None and own.prediction is not None and answered.prediction is not None:
            lane.pool.note(answered.prediction.answer, disagrees=disagrees)

    def _paired(self) -> messages.Paired | None:
        beside = self._beside
        return None if beside is None or beside.pairing is None else beside.pairing.tell()

    def _failed(self, lane: Lane, error: Exception, window: NDArray[np.float32] | None) -> None:
        self._errors += 1
        if window is not None and lane.sketcher is not None:
            lane.sketcher.push(lane.charge.model.unanswered(window))
        self._last_row_ns = self._clock_ns()
        self.totals.errors += 1
        self.totals.detail = f"{type(error).__name__}: {error}"[: limits.MAX_DETAIL_LENGTH]
        if window is not None and self._beside is not None:
            self._pair(lane, self._beside, Answered(None, 0, error))
        if lane.charge.phase is Phase.TRIAL:
            self._trial(ok=False, latency_us=0, detail=self.totals.detail)
        if len(self._latencies) + self._errors >= limits.WINDOW_ROWS:
            self.close_window()

    def _reset(self) -> None:
        """An empty window."""
        self._opened_ns = self._last_row_ns = self._clock_ns()
        self._source_rows = 0
        self._errors = 0
        self._latencies.clear()
        if self._lane is not None and self._lane.sketcher is not None:
            self._lane.sketcher.clear()

    def _heard(self) -> list[Sink]:
        return [sink for lane in self._lanes() for sink in lane.sinks]

    def _flush_sinks(self) -> None:
        now_ns = self._clock_ns()
        for sink in self._heard():
            self._guard_sink(sink, sink.flush, now_ns)

    def _guard_sink(self, sink: Sink, act: Callable[[int], None], now_ns: int) -> None:
        try:
            act(now_ns)
        except Exception as error:  # noqa: BLE001 - as in `take`
            self._rest(sink, error, now_ns)

    def _rest(self, sink: Sink, error: Exception, now_ns: int) -> None:
        self.totals.sink_errors += 1
        self._at_rest.discard(id(sink))
        self.totals.detail = f"{type(sink).__name__}: {error}"[: limits.MAX_DETAIL_LENGTH]
        last = self._rests.get(id(sink))
        again = last is not None and now_ns - last.until_ns < _RETRY_MAX_NS
        pause_ns = min(2 * last.pause_ns, _RETRY_MAX_NS) if last is not None and again else _RETRY_MIN_NS
        self._rests[id(sink)] = _Rest(now_ns + pause_ns, pause_ns)
        self._give_voices()

    def _wake(self, now_ns: int) -> None:
        due = [rest for rest in self._rests.values() if not rest.over and rest.until_ns <= now_ns]
        for rest in due:
            rest.over = True
        if due:
            self._give_voices()


def _united(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return first + tuple(name for name in second if name not in first)


def _fits_sample(window: InputWindow) -> bool:
    return 4 * window.rows * len(window.columns) <= limits.MAX_SAMPLE_BYTES
