"""Windows, references and evidence made by hand: what tests of the parts of a judgement stand on."""

from dataclasses import replace

import numpy as np

from edgeops import limits
from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.baseline import Baseline
from edgeops.drift.evidence import Evidence, Seen, Spans
from edgeops.drift.history import NEVER, History
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.statistics import cumulative
from edgeops.sketch.window import LIMIT, Sketch

BINS = limits.HISTOGRAM_BINS
POLICY = DriftPolicy()
EVEN = np.full(BINS, 1 / BINS)
#: Standard deviation of what is drawn here, in steps of the grid.
SPREAD = 30
#: Judged windows at two widths, and merged ones.
JUDGED, MERGED = 6, 2


def dealt(rows, bins=range(BINS)):
    """So many rows, dealt to these bins one by one."""
    counts = np.zeros(BINS, np.int64)
    places = np.array(list(bins))
    np.add.at(counts, places[np.arange(rows) % len(places)], 1)
    return counts


def window(*columns, rows=None, lag1=0.0):
    """One window of histograms, one a channel, whose rows follow each other with this autocorrelation."""
    counts = np.array(columns)
    present = counts.sum(axis=1)
    pairs, squares = np.maximum(present - 1, 0), present * SPREAD**2
    steps = np.rint(pairs * 2 * SPREAD**2 * (1 - np.broadcast_to(lag1, present.shape))).astype(np.int64)
    return Sketch(
        int(present.max()) if rows is None else rows, counts, total=0 * present, squares=squares, pairs=pairs,
        steps=steps, low=np.where(present > 0, -100, LIMIT), high=np.where(present > 0, 100, -LIMIT),
    )  # fmt: skip


def history(*streams, most=128):
    """Of windows oldest first; of numbers, windows of so many evenly dealt rows."""
    made = [[window(dealt(one)) if isinstance(one, int) else one for one in stream] for stream in streams]
    channels = next(one.channels for stream in made for one in stream)
    return History(made, channels=channels, most=most)


def baseline(channels=1, **changes):
    """A reference of 10,000 independent rows that fill all bins alike."""
    each, none = np.ones(channels), np.zeros(channels, np.bool_)
    shares = np.tile(EVEN, (channels, 1))
    made = Baseline(
        names=tuple(f"c{index}" for index in range(channels)), counts=np.full((channels, BINS), 313),
        cumulative=cumulative(shares), shares=shares, present=10_016 * each, missing=0 * each, low=-100 * each,
        high=100 * each, variance=SPREAD**2 * each, centre=0 * each, step=each, rows=10_000 * each, lag1=0 * each,
        is_stream=~none, is_ordered=True, is_constant=none, is_discrete=none, lengths=np.array([], np.int64),
        floors=np.empty((0, channels)),
    )  # fmt: skip
    return replace(made, **changes)


def channels(*kinds):
    """Channels of a manifest, by default two columns."""
    return [
        Channel(name=f"c{index}", kind=kind, index=index if kind is ChannelKind.COLUMN else None)
        for index, kind in enumerate(kinds or (ChannelKind.COLUMN,) * 2)
    ]


def full(value, streams=1, of_channels=1, spans=JUDGED + MERGED):
    """One value of every span, stream and channel."""
    return np.full((spans, streams, of_channels), value)


def spans(*, effective=100.0, source_rows=100.0, lag1=0.0, streams=1, of_channels=1, merged=True, upto=None):
    """Six judged windows of one window each, and two merged ones that reach over two and four."""
    shape = {"streams": streams, "of_channels": of_channels}
    ages = np.array([0, 1, 2, 0, 1, 2, 1, 3]).reshape(-1, 1, 1)
    before = np.array([NEVER, 0, 1, NEVER, 0, 1, NEVER, NEVER]).reshape(-1, 1, 1)
    may = np.array([merged, *[False] * 5, True, True]).reshape(-1, 1, 1)
    every = full(1, **shape)
    return Spans(
        upto=ages * every if upto is None else upto, after=before * every, source_rows=full(source_rows, **shape),
        effective=full(effective, **shape), lag1=full(lag1, **shape), is_merged=may & (every > 0),
    )  # fmt: skip


def seen(p_values, *, distance=0.5, effective=100.0, guarded=0.0, split=False):
    """What spans showed: p-values (spans, streams, channels) and how far they moved up from even bins."""
    of_spans = np.asarray(p_values, float)
    shares = np.empty((*of_spans.shape, BINS))
    shares[:] = cumulative(EVEN)
    shares -= np.where(np.arange(BINS) == BINS // 2, np.broadcast_to(distance, of_spans.shape)[..., np.newaxis], 0)
    return Seen(
        cumulative=shares, rows=np.full(of_spans.shape, 100.0), effective=np.full(of_spans.shape, effective),
        p_values=np.stack((of_spans, np.ones(of_spans.shape)), axis=-1),
        guarded=np.broadcast_to(guarded, of_spans.shape[:2]), split=np.broadcast_to(split, of_spans.shape[:2]),
    )  # fmt: skip


def evidence(*, of_channels=1, streams=1, drifted=False, **changes):
    """Nothing moved, in any span, unless it is said."""
    shape = {"streams": streams, "of_channels": of_channels}
    flags = np.full((streams, of_channels), fill_value=False)
    made = Evidence(
        exists=full(value=True, **shape), seen=seen(full(1.0, **shape), distance=0.0), distance=full(0.0, **shape),
        p_value=full(1.0, **shape), floor=full(POLICY.floor, **shape), drifted=flags | np.asarray(drifted),
        again=flags, telling=np.zeros((streams, of_channels), np.intp),
    )  # fmt: skip
    return replace(made, **changes)
