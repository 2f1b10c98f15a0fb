"""The reference profile: what a model's channels looked like on the rows it was trained on.

It travels inside the artifact and holds, per channel, the bin edges and the grid that every window is measured with,
the lag-1 autocorrelation, and how much consecutive blocks of the reference itself differ from the rest (D, the
largest distance between two cumulative histograms). The reference rows' own sketch carries counts, moments and
missing values. This module does not compare windows with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import ArtifactError, MessageError
from edgeops.sketch.histogram import EDGES, class_edges, quantile_edges
from edgeops.sketch.window import Sketch, Sketcher, merge_all, pack, unpack

FORMAT = 1

#: Grid steps in one standard deviation of the reference.
_STEPS_PER_DEVIATION = 32
#: Grid steps in the magnitude of a channel that never changed.
_STEPS_PER_CONSTANT = 1024
#: Far below what float32 readings can differ by; keeps the arithmetic finite.
_LEAST_STEP = 1e-100
_BLOCKS = 20
_MIN_BLOCK_ROWS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """How values are binned and measured, per channel."""

    #: (channels, 31) float32, ascending.
    edges: NDArray[np.float32]
    #: (channels,) float64: z = round((x - centre) / step).
    centre: NDArray[np.float64]
    step: NDArray[np.float64]


class ReferenceChannel(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One channel of the profile."""

    name: str
    #: Whole numbers (classes), binned one by one.
    discrete: bool
    #: 31 little-endian float32.
    edges: bytes
    centre: float
    step: float
    #: Lag-1 autocorrelation; says something only where the profile is `ordered`.
    lag1: float
    #: D of each consecutive block against all others, little-endian float32.
    block_distances: bytes


class ReferenceProfile(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """All channels of one model, in the manifest's order."""

    format: int
    #: Whether rows were consecutive rows of one source in time order.
    ordered: bool
    channels: tuple[ReferenceChannel, ...]
    #: `edgeops.sketch.window` packed: the reference rows against their own grid.
    sketch: bytes

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def grid(self) -> Grid:
        """Edges and grid of all channels."""
        return Grid(
            edges=np.array([np.frombuffer(channel.edges, "<f4") for channel in self.channels], np.float32).reshape(
                len(self.channels), EDGES
            ),
            centre=np.array([channel.centre for channel in self.channels], np.float64),
            step=np.array([channel.step for channel in self.channels], np.float64),
        )

    def summary(self) -> Sketch:
        """The reference rows' own sketch."""
        return unpack(self.sketch)


class ChannelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A sketch of one channel in the channel's own units; None where nothing was present."""

    name: str
    count: int
    missing: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    lag1: float | None
    #: Values per reference bin.
    histogram: tuple[int, ...]


def build_reference(
    values: NDArray[np.float32], names: Sequence[str], *, discrete: Collection[str], ordered: bool = False
) -> ReferenceProfile:
    """The profile of rows (n, channels); NaN = missing.

    `discrete` names the channels that hold whole numbers (the class). `ordered` says that the rows are consecutive
    rows of one source in time order; otherwise autocorrelation and block distances describe the order given.

    Raises:
        ArtifactError: no rows, or names and columns differ in number.
    """
    if values.ndim != 2 or values.shape[1] != len(names) or not 1 <= len(names) <= limits.MAX_CHANNELS:
        raise ArtifactError(f"reference values of shape {values.shape} for {len(names)} channels (at most 64)")
    if not len(values):
        raise ArtifactError("a reference profile needs rows")
    values = np.asarray(values, np.float32)
    bare = ReferenceProfile(
        format=FORMAT,
        ordered=ordered,
        channels=tuple(
            _channel(name, column, discrete=name in discrete) for name, column in zip(names, values.T, strict=True)
        ),
        sketch=b"",
    )
    whole = _sketch_of(bare, values)
    lags = autocorrelation(whole)
    distances = _block_distances(bare, values)
    channels = tuple(
        msgspec.structs.replace(channel, lag1=float(lag), block_distances=column.astype("<f4").tobytes())
        for channel, lag, column in zip(bare.channels, lags, distances.T, strict=True)
    )
    return msgspec.structs.replace(bare, channels=channels, sketch=pack(whole))


def encode_reference(profile: ReferenceProfile) -> bytes:
    """The profile as it lies in an artifact."""
    return msgspec.msgpack.encode(profile)


def decode_reference(data: bytes) -> ReferenceProfile:
    """Read a profile.

    Raises:
        ArtifactError: not a profile, or one that nothing can be measured with.
    """
    try:
        profile = msgspec.msgpack.decode(data, type=ReferenceProfile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise ArtifactError(f"not a reference profile: {error}") from error
    if profile.format != FORMAT:
        raise ArtifactError(f"reference profile format {profile.format}, this version reads {FORMAT}; update EdgeOps")
    for channel in profile.channels:
        _check_channel(channel)
    if not 1 <= len(profile.channels) <= limits.MAX_CHANNELS:
        raise ArtifactError(f"a reference profile of {len(profile.channels)} channels; 1 to {limits.MAX_CHANNELS}")
    try:
        if profile.summary().channels != len(profile.channels):
            raise ArtifactError("the reference profile's sketch has other channels than the profile")
    except MessageError as error:
        raise ArtifactError(f"the reference profile's own sketch is damaged: {error}") from error
    return profile


def autocorrelation(sketch: Sketch) -> NDArray[np.float64]:
    """Lag-1 autocorrelation per channel, by von Neumann's ratio; 0 where it cannot be told."""
    variance = _variance(sketch)
    known = (sketch.pairs > 0) & (variance > 0)
    ratio = np.divide(sketch.steps, sketch.pairs, out=np.zeros(sketch.channels), where=known)
    halves = np.divide(ratio, 2 * variance, out=np.ones(sketch.channels), where=known)
    return np.asarray(np.clip(1 - halves, -1, 1))


def summarize(sketch: Sketch, profile: ReferenceProfile) -> tuple[ChannelSummary, ...]:
    """The sketch in the channels' own units.

    Raises:
        MessageError: the sketch has other channels than the profile.
    """
    if sketch.channels != len(profile.channels):
        raise MessageError(f"a sketch of {sketch.channels} channels, the profile has {len(profile.channels)}")
    deviations = np.sqrt(_variance(sketch))
    lags = autocorrelation(sketch)
    summaries = []
    for index, channel in enumerate(profile.channels):
        count = int(sketch.present[index])
        summary = ChannelSummary(
            name=channel.name,
            count=count,
            missing=sketch.rows - count,
            mean=channel.centre + channel.step * int(sketch.total[index]) / count if count else None,
            std=channel.step * float(deviations[index]) if count else None,
            min=channel.centre + channel.step * int(sketch.low[index]) if count else None,
            max=channel.centre + channel.step * int(sketch.high[index]) if count else None,
            lag1=float(lags[index]) if sketch.pairs[index] else None,
            histogram=tuple(sketch.counts[index].tolist()),
        )
        summaries.append(summary)
    return tuple(summaries)


def _channel(name: str, column: NDArray[np.float32], *, discrete: bool) -> ReferenceChannel:
    present = column[np.isfinite(column)]
    if discrete:
        edges, centre, step = class_edges(present), 0.0, 1.0
    else:
        edges = quantile_edges(present)
        wide = present.astype(np.float64)
        centre = float(wide.mean()) if len(wide) else 0.0
        deviation = float(wide.std()) if len(wide) else 0.0
        # A constant's deviation is rounding noise, not zero.
        is_constant = deviation <= 1e-9 * abs(centre) or not len(wide)
        step = (max(abs(centre), 1.0) / _STEPS_PER_CONSTANT) if is_constant else deviation / _STEPS_PER_DEVIATION
    return ReferenceChannel(
        name=name,
        discrete=discrete,
        edges=edges.astype("<f4").tobytes(),
        centre=centre,
        step=step,
        lag1=0.0,
        block_distances=b"",
    )


def _sketch_of(profile: ReferenceProfile, values: NDArray[np.float32]) -> Sketch:
    sketcher = Sketcher(profile)
    sketcher.add(values)
    return sketcher.sketch()


def _block_distances(profile: ReferenceProfile, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(blocks, channels): D of each of up to 20 consecutive blocks of at least 50 rows against all others."""
    count = min(_BLOCKS, len(values) // _MIN_BLOCK_ROWS)
    if count < 2:
        return np.empty((0, len(profile.channels)))
    blocks = [_sketch_of(profile, block) for block in np.array_split(values, count)]
    whole = merge_all(blocks, channels=len(profile.channels))
    return np.array([_distance(block.counts, whole.counts - block.counts) for block in blocks])


def _distance(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Kolmogorov-Smirnov distance of histograms (channels, 32); 0 where one is empty."""
    shares = []
    for counts in (first, second):
        totals = counts.sum(axis=1, keepdims=True)
        shares.append(np.cumsum(counts, axis=1) / np.maximum(totals, 1))
    distances = np.abs(shares[0] - shares[1]).max(axis=1)
    both = (first.sum(axis=1) > 0) & (second.sum(axis=1) > 0)
    return np.asarray(np.where(both, distances, 0.0))


def _variance(sketch: Sketch) -> NDArray[np.float64]:
    """Of z, exact until the last division: (n * squares - total^2) / n^2 in Python's integers."""
    return np.array(
        [
            (count * squares - total * total) / (count * count) if count else 0.0
            for count, squares, total in zip(
                sketch.present.tolist(), sketch.squares.tolist(), sketch.total.tolist(), strict=True
            )
        ]
    )


def _check_channel(channel: ReferenceChannel) -> None:
    edges = np.frombuffer(channel.edges, "<f4") if len(channel.edges) == 4 * EDGES else np.empty(0)
    if len(edges) != EDGES or not (edges[1:] >= edges[:-1]).all():
        raise ArtifactError(f"channel {channel.name[:80]!r} of the reference profile needs {EDGES} ascending edges")
    if not (np.isfinite(channel.centre) and np.isfinite(channel.step) and channel.step > _LEAST_STEP):
        raise ArtifactError(
            f"channel {channel.name[:80]!r} of the reference profile has centre {channel.centre}, step {channel.step}"
        )
    if len(channel.block_distances) % 4 or len(channel.block_distances) > 4 * _BLOCKS:
        raise ArtifactError(f"channel {channel.name[:80]!r} of the reference profile has damaged block distances")
