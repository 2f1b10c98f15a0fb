"""What one device has shown for one installation; stored with it as JSON, and grown window by window in any order.

It adds up and judges nothing. The caller says which windows belong to it: those of the incumbent that closed before the
device was asked, the newest `limits.HEALTH_BASELINE_WINDOWS`, are `before`; those of the new model after it was asked
are `since`. Of a control device, which was not asked, those of its incumbent since the wave began are `since`.
Pairs count if their shadow is the incumbent and they have as many cells as the two models' agreement has; the caller
sees to both.
"""

import msgspec

from edgeops.protocol.messages import Paired, Phase, Window
from edgeops.rollout.health.spread import Spread, spread_of, step_of
from edgeops.rollout.health.sums import plus

#: A window with fewer answers has no 95th percentile that could be compared with another window's. Of pairs any number
#: will do, for both models have as many.
LATENCY_ROWS = 10


class Inputs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is in a window's sketch, as far as the gate looks at it; the caller unpacks it."""

    #: Values of all input channels, present or not, and how many were missing.
    values: int = 0
    missing: int = 0
    #: Answers by bin of the answer's channel: the prediction mix.
    mix: tuple[int, ...] = ()
    #: Answers whose confidence the model's calibration knows the worth of, and how many of them are expected to be
    #: right, in thousandths (confidence-based performance estimation, CBPE).
    rated: int = 0
    expected_right_milli: int = 0

    @property
    def estimated_accuracy(self) -> float | None:
        """What confidences alone say; None = nothing."""
        return self.expected_right_milli / (1_000 * self.rated) if self.rated else None


class Period(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Windows of one model on its own, summed up."""

    windows: int = 0
    rows: int = 0
    errors: int = 0
    dropped: int = 0
    duration_ms: int = 0
    #: Of windows with enough rows, in microseconds.
    latency_p95: Spread = Spread()
    inputs: Inputs = Inputs()
    #: Starts of the agent that nobody asked for.
    crashes: int = 0

    @property
    def met(self) -> int:
        """Inputs that came to the model, answered or not."""
        return self.rows + self.errors + self.dropped


class Pairs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Inputs that the new model and the incumbent both saw, summed up."""

    windows: int = 0
    #: Answered by both.
    rows: int = 0
    #: Ended in an error of the one, and the other answered.
    new_errors: int = 0
    old_errors: int = 0
    skipped: int = 0
    #: `edgeops.rollout.agreement`; the shadow is the incumbent.
    cells: tuple[int, ...] = ()
    #: New by old, and both by themselves in microseconds.
    ratio_p95: Spread = Spread()
    new_p95: Spread = Spread()
    old_p95: Spread = Spread()

    @property
    def seen(self) -> int:
        """Inputs that at least one of both answered."""
        return self.rows + self.new_errors + self.old_errors


class Live(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of the windows since that are of no trial: what the device showed after it committed."""

    rows: int = 0
    errors: int = 0
    #: Inputs that were to be paired, and of which the device tells what became.
    chosen: int = 0


class DeviceHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one device has shown."""

    #: It had a model before and was asked to let it shadow the new one, so that pairs are owed.
    shadowed: bool = False
    #: Of the inputs after the commit, those that it was asked to pair; 0 = that is not known.
    shadow_share: float = 0.0
    #: No bake follows the commit, so that the trial alone is what it shows.
    tried_alone: bool = False
    before: Period = Period()
    since: Period = Period()
    live: Live = Live()
    pairs: Pairs = Pairs()
    #: Peak memory of the agent's model as it told in its trial, and what the incumbent took in its own; 0 = unknown.
    memory_bytes: int = 0
    memory_before_bytes: int = 0

    @property
    def heard(self) -> bool:
        """Whether it was heard when it had to be: after its commit, where a bake follows that."""
        shown = self.since if self.tried_alone else self.live
        return shown.rows + shown.errors > 0


def with_baseline(health: DeviceHealth, window: Window, inputs: Inputs | None = None) -> DeviceHealth:
    """And a window of the incumbent from before."""
    return msgspec.structs.replace(health, before=plus(health.before, _period_of(window, inputs)))


def with_window(health: DeviceHealth, window: Window, inputs: Inputs | None = None) -> DeviceHealth:
    """And a window since it was asked; pairs count if its shadow is the incumbent's."""
    pairs = health.pairs if window.paired is None else plus(health.pairs, _pairs_of(window.paired))
    live = health.live if window.phase is Phase.TRIAL else plus(health.live, _live_of(window))
    since = plus(health.since, _period_of(window, inputs))
    return msgspec.structs.replace(health, since=since, live=live, pairs=pairs)


def with_crash(health: DeviceHealth) -> DeviceHealth:
    """And a start of the agent since, that nobody asked for."""
    return msgspec.structs.replace(health, since=plus(health.since, Period(crashes=1)))


def with_crashes_before(health: DeviceHealth, crashes: int) -> DeviceHealth:
    """And how many of them there were in the time of the windows from before; what was known stays known."""
    before = msgspec.structs.replace(health.before, crashes=max(health.before.crashes, crashes))
    return msgspec.structs.replace(health, before=before)


def with_memory(health: DeviceHealth, memory_bytes: int) -> DeviceHealth:
    """And what a report says of the new model's memory; the peak counts."""
    return msgspec.structs.replace(health, memory_bytes=max(health.memory_bytes, memory_bytes))


def _period_of(window: Window, inputs: Inputs | None) -> Period:
    return Period(
        windows=1,
        rows=window.rows,
        errors=window.errors,
        dropped=window.dropped,
        duration_ms=window.duration_ms,
        latency_p95=_latency(window.latency_p95_us if window.rows >= LATENCY_ROWS else 0),
        inputs=inputs or Inputs(),
    )


def _live_of(window: Window) -> Live:
    pairs = window.paired
    chosen = pairs.rows + pairs.errors + pairs.shadow_errors + pairs.skipped + pairs.unmatched if pairs else 0
    return Live(rows=window.rows, errors=window.errors, chosen=chosen)


def _pairs_of(paired: Paired) -> Pairs:
    new_us, old_us = paired.latency_p95_us, paired.shadow_latency_p95_us
    return Pairs(
        windows=1,
        rows=paired.rows,
        new_errors=paired.errors,
        old_errors=paired.shadow_errors,
        skipped=paired.skipped,
        cells=paired.cells if any(paired.cells) else (),
        ratio_p95=_latency(new_us / old_us if old_us else 0),
        new_p95=_latency(new_us),
        old_p95=_latency(old_us),
    )


def _latency(value: float) -> Spread:
    """0 = not known."""
    return spread_of([step_of(value)] if value > 0 else [])
