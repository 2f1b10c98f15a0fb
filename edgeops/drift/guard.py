"""What a group's evidence is worth without any single one of its devices.

One device may lie, all the time, and each judgement is another chance for it. How much must remain without it, is the
policy's; it must be more while some voices, or devices, moved by themselves and others did not at all, as is the case
when one shouts. A test of whether the voices agree, in its place, was worse: a liar that is a third of a deviation
away, which no such test sees in 27 rows, got through in 13 of 14 horizons.
"""

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.baseline import Baseline
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import cumulative, effective_rows, harmonic_mean, holm, p_values, without_the_strongest
from edgeops.drift.views import GroupView

Floats = NDArray[np.float64]

_VOICES_TO_SPLIT = 2


def guarded_p_value(view: GroupView, lag1: Floats, baseline: Baseline) -> float:
    """The p-value of all channels that holds although one voice lies; 0 where one voice speaks for all.

    From the sum of all voices but one, the worst choice of that one; and from all voices but the strongest, one by one,
    over all channels and channel by channel, which are weaker but cannot be talked away: in a sum a liar cancels what
    an honest voice says.
    """
    if len(view.voices) == 1:
        return 0.0
    n, m = effective_rows(view.rows, lag1), baseline.effective(lag1)
    of_voices = p_values(view.voices, baseline.cumulative, n, m)
    of_others = p_values(_without_each(view), baseline.cumulative, n.sum(axis=0) - n, m)
    mean = n.mean(axis=0)
    shared = np.divide(mean, mean + m, out=np.zeros(mean.shape), where=mean + m > 0)
    each = np.array((_of_all(of_others).max(), without_the_strongest(_of_all(of_voices), shared.max())))
    by_channel = harmonic_mean(without_the_strongest(of_voices, shared[:, np.newaxis]).ravel())
    return float(harmonic_mean(np.append(each, by_channel)))


def is_split(view: GroupView, lag1: Floats, baseline: Baseline, policy: DriftPolicy) -> bool:
    """Whether one voice moved by itself and another, over all channels, not at all."""
    n, m = effective_rows(view.rows, lag1), baseline.effective(lag1)
    speaking = (view.rows > 0).any(axis=-1)
    if speaking.sum() < _VOICES_TO_SPLIT:
        return False
    tests = p_values(view.voices, baseline.cumulative, n, m)[speaking]
    most = holm(tests.reshape(len(tests), -1)).min()
    return bool(most <= policy.merged_alpha and _of_all(tests).max() > policy.unmoved_p)


def _without_each(view: GroupView) -> Floats:
    """Cumulative shares (voices, channels, 32) of all voices but each."""
    counts = np.diff(view.voices, axis=-1, prepend=0) * view.rows[..., np.newaxis]
    return cumulative(counts.sum(axis=0) - counts)


def _of_all(p_values_: Floats) -> Floats:
    """One for each voice (voices,) of those of its channels (voices, channels, tests)."""
    return harmonic_mean(p_values_.reshape(len(p_values_), -1))
