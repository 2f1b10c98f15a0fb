"""The reference profile: what a model's channels looked like on the rows it was trained on.

It travels inside the artifact and holds, per channel, the bin edges and the grid that every window is measured with,
the lag-1 autocorrelation and how much the reference wanders by itself (both only if its rows came in time order), and
how many rows its counts are worth; also what a confidence is worth and the histograms per answered class. The
reference rows' own sketch carries counts, moments and missing values.

A healed model's profile is made without the rows of its inputs: see `healed_reference`.
This module does not compare windows with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import ArtifactError, MessageError
from edgeops.sketch.by_class import ClassSketches, owners
from edgeops.sketch.calibration import Calibration, fit_calibration
from edgeops.sketch.histogram import EDGES, class_edges, quantile_edges
from edgeops.sketch.wander import block_lengths, cell_rows, wander
from edgeops.sketch.window import LIMIT, MAX_ROWS, Sketch, Sketcher, pack, unpack

FORMAT = 1

#: Grid steps in one standard deviation of the reference, and of its middle half where that is less.
_STEPS_PER_DEVIATION = 32
_QUARTILES_APART = 1.349
#: The reference's own values reach no further than this share of the grid.
_REACH = 0.5
#: Grid steps in the magnitude of a channel that never changed.
_STEPS_PER_CONSTANT = 1024
#: D between a quarter of ordered rows and the rest, from which a person is warned; and independent rows, up to which.
_WANDERS = 0.25
_LEAST_INDEPENDENT = 50.0
#: Channels that a warning names.
_NAMED = 5
#: Far below what float32 readings can differ by; keeps the arithmetic finite.
_LEAST_STEP = 1e-100
#: A weighted channel is measured by so many of its rows at most.
_DRAWN_ROWS = 20_000


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
    #: Rows drawn at random that the counts are worth, before autocorrelation: less than the rows where they are
    #: weighted.
    effective_rows: float
    #: Lag-1 autocorrelation of rows in time order; 0 where their order says nothing.
    lag1: float
    #: Per `block_rows` of the profile, the largest D of a block against the rest, little-endian float32.
    wander: bytes


class ReferenceProfile(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """All channels of one model, in the manifest's order."""

    format: int
    #: Whether rows were consecutive rows of one source in time order.
    ordered: bool
    channels: tuple[ReferenceChannel, ...]
    #: `edgeops.sketch.window` packed: the reference rows against their own grid.
    sketch: bytes
    #: Lengths of the blocks behind `wander`, ascending; none unless `ordered`.
    block_rows: Annotated[tuple[int, ...], msgspec.Meta(max_length=16)] = ()
    #: Expected accuracy per bin of the confidence channel, 32 little-endian float32; empty = unknown.
    calibration: bytes = b""
    #: None = unknown.
    by_class: ClassSketches | None = None

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

    def wander(self) -> NDArray[np.float64]:
        """(block_rows, channels): the largest D of a block of the reference against the rest."""
        columns = [np.frombuffer(channel.wander, "<f4") for channel in self.channels]
        return np.array(columns, np.float64).reshape(len(self.channels), len(self.block_rows)).T

    def expected_accuracy(self) -> NDArray[np.float64] | None:
        """Per bin of the confidence channel (32,); None = unknown."""
        return np.frombuffer(self.calibration, "<f4").astype(np.float64) if self.calibration else None


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
    values: NDArray[np.float32],
    names: Sequence[str],
    *,
    discrete: Collection[str],
    ordered: bool = False,
    answer: str | None = None,
    calibration: Calibration | None = None,
) -> ReferenceProfile:
    """The profile of rows (n, channels); NaN = missing.

    `discrete` names the channels that hold whole numbers (the class). `ordered` says that the rows are consecutive
    rows of one source in time order; only then autocorrelation and wandering can be told from them. `answer` names
    the channel that holds the answered class.

    Raises:
        ArtifactError: no rows, names and columns differ in number, or a named channel does not exist.
    """
    if values.ndim != 2 or values.shape[1] != len(names) or not 1 <= len(names) <= limits.MAX_CHANNELS:
        raise ArtifactError(f"reference values of shape {values.shape} for {len(names)} channels (at most 64)")
    if not len(values):
        raise ArtifactError("a reference profile needs rows")
    values = np.asarray(values, np.float32)
    present = np.isfinite(values).sum(axis=0)
    profile = ReferenceProfile(
        format=FORMAT,
        ordered=ordered,
        channels=tuple(
            _channel(name, column, discrete=name in discrete, effective_rows=float(rows))
            for name, column, rows in zip(names, values.T, present, strict=True)
        ),
        sketch=b"",
    )
    whole = _sketch_of(profile, values)
    profile = msgspec.structs.replace(profile, sketch=pack(whole))
    if ordered:
        profile = _with_order(profile, values, autocorrelation(whole))
    if answer is not None:
        by_class = _split_by_class(profile, values, whole, answer=_position(names, answer))
        profile = msgspec.structs.replace(profile, by_class=by_class)
    return _with_calibration(profile, calibration)


def healed_reference(
    previous: ReferenceProfile,
    inputs: Sketch,
    *,
    names: Sequence[str],
    is_input: Sequence[bool],
    values: NDArray[np.float32],
    weights: NDArray[np.float64],
    discrete: Collection[str],
    calibration: Calibration | None = None,
) -> ReferenceProfile:
    """The profile of a model that was healed on what devices saw, of which the server has sketches and a few samples.

    Input channels keep edges and grid; their counts and moments are those of the merged windows the model was healed
    on: inputs need no labels. Projections of the embedding, answer and certainty are the new model's, so they get
    edges and a grid of their own, from its channel values over the nominated samples, each counted as the rows that
    it stands for. Their counts are worth (sum w)^2 / sum w^2 rows (Kish 1965), fewer than the inputs'. What the
    process does by itself, autocorrelation and wandering, is carried over by name. Histograms per class are not known.

    Args:
        previous: profile of the model that was healed.
        inputs: merged windows, measured with `previous`, of the same channels.
        names: channels of the new model in order; its input channels are those of `previous`.
        is_input: per name, whether the channel depends on the inputs alone.
        values: (n, channels) of the new model over the nominated samples; input columns are ignored.
        weights: (n,) rows that each sample stands for, above 0.
        discrete: names of channels that hold whole numbers.
        calibration: as in `build_reference`.

    Raises:
        ArtifactError: no rows, or names, shapes or weights that do not fit.
    """
    _check_healing(previous, inputs, names=names, is_input=is_input, values=values, weights=weights)
    before = {name: position for position, name in enumerate(previous.names)}
    values = np.asarray(values, np.float32)
    channels: list[ReferenceChannel] = []
    columns: list[Sketch] = []
    for name, is_kept, column in zip(names, is_input, values.T, strict=True):
        old = previous.channels[before[name]] if name in before else None
        if is_kept:
            assert old is not None, "_check_healing refuses inputs that the previous profile does not have"
            part = _column_of(inputs, before[name])
            channels.append(msgspec.structs.replace(old, effective_rows=float(part.present[0])))
        else:
            new, part = _weighted(name, column, weights, rows=inputs.rows, discrete=name in discrete)
            channels.append(
                msgspec.structs.replace(
                    new,
                    lag1=old.lag1 if old else 0.0,
                    wander=old.wander if old else bytes(4 * len(previous.block_rows)),
                )
            )
        columns.append(part)
    profile = ReferenceProfile(
        format=FORMAT,
        ordered=previous.ordered,
        channels=tuple(channels),
        sketch=pack(_side_by_side(columns)),
        block_rows=previous.block_rows,
    )
    return _with_calibration(profile, calibration)


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
    if not 1 <= len(profile.channels) <= limits.MAX_CHANNELS:
        raise ArtifactError(f"a reference profile of {len(profile.channels)} channels; 1 to {limits.MAX_CHANNELS}")
    for channel in profile.channels:
        _check_channel(channel, lengths=len(profile.block_rows))
    _check_shared(profile)
    try:
        if profile.summary().channels != len(profile.channels):
            raise ArtifactError("the reference profile's sketch has other channels than the profile")
        if profile.by_class is not None:
            profile.by_class.check(len(profile.channels))
    except MessageError as error:
        raise ArtifactError(f"the reference profile's own sketch is damaged: {error}") from error
    return profile


def reference_warnings(profile: ReferenceProfile) -> tuple[str, ...]:
    """What a person should know before relying on the profile, a sentence each; none for a good one."""
    summary = profile.summary()
    warnings = [_constant_warning(profile, summary)]
    if profile.ordered:
        warnings += [_wandering_warning(profile), _slow_warning(profile, summary)]
    return tuple(warning for warning in warnings if warning)


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


def _channel(name: str, column: NDArray[np.float32], *, discrete: bool, effective_rows: float) -> ReferenceChannel:
    present = column[np.isfinite(column)]
    if discrete:
        edges, centre, step = class_edges(present), 0.0, 1.0
    else:
        edges = quantile_edges(present)
        wide = present.astype(np.float64)
        centre = float(wide.mean()) if len(wide) else 0.0
        step = _grid_step(wide, centre)
    return ReferenceChannel(
        name=name,
        discrete=discrete,
        edges=edges.astype("<f4").tobytes(),
        centre=centre,
        step=step,
        effective_rows=effective_rows,
        lag1=0.0,
        wander=b"",
    )


def _grid_step(values: NDArray[np.float64], centre: float) -> float:
    """A 32nd of the deviation; one wild value must not make the grid too coarse to see the others move."""
    deviation = float(values.std()) if len(values) else 0.0
    # A constant's deviation is rounding noise, not zero.
    if deviation <= 1e-9 * abs(centre):
        return max(abs(centre), 1.0) / _STEPS_PER_CONSTANT
    lower, upper = np.quantile(values, (0.25, 0.75))
    middle = float(upper - lower) / _QUARTILES_APART
    finest = float(np.abs(values - centre).max()) / (_REACH * LIMIT)
    return max(min(deviation, middle or deviation) / _STEPS_PER_DEVIATION, finest)


def _sketch_of(profile: ReferenceProfile, values: NDArray[np.float32]) -> Sketch:
    sketcher = Sketcher(profile)
    sketcher.add(values)
    return sketcher.sketch()


def _split_by_class(
    profile: ReferenceProfile, values: NDArray[np.float32], whole: Sketch, *, answer: int
) -> ClassSketches:
    owner = owners(whole.counts[answer])
    answers = values[:, answer]
    known = np.isfinite(answers)
    whose = np.where(known, owner[profile.grid.edges[answer].searchsorted(answers, side="right")], len(owner))
    sketches = tuple(pack(_sketch_of(profile, values[whose == one])) for one in range(int(owner.max()) + 1))
    return ClassSketches(answer=answer, owner=owner.tobytes(), sketches=sketches)


def _position(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise ArtifactError(f"no channel {name[:80]!r} in the reference; it has {', '.join(names)[:200]}")
    return list(names).index(name)


def _with_order(profile: ReferenceProfile, values: NDArray[np.float32], lags: NDArray[np.float64]) -> ReferenceProfile:
    rows = cell_rows(len(values))
    whole_cells = len(values) // rows
    lengths = block_lengths(whole_cells)
    pieces = [values[start * rows : (start + 1) * rows] for start in range(whole_cells)]
    cells = np.array([_sketch_of(profile, piece).counts for piece in pieces]).reshape(whole_cells, len(lags), -1)
    columns = wander(cells, lengths).T
    channels = tuple(
        msgspec.structs.replace(channel, lag1=float(lag), wander=column.astype("<f4").tobytes())
        for channel, lag, column in zip(profile.channels, lags, columns, strict=True)
    )
    return msgspec.structs.replace(profile, channels=channels, block_rows=tuple(rows * length for length in lengths))


def _with_calibration(profile: ReferenceProfile, calibration: Calibration | None) -> ReferenceProfile:
    if calibration is None:
        return profile
    edges = profile.grid.edges[_position(profile.names, calibration.channel)]
    fitted = fit_calibration(calibration.confidence, calibration.correct, edges)
    return msgspec.structs.replace(profile, calibration=fitted.astype("<f4").tobytes())


# -- healing ---------------------------------------------------------------------------------------


def _check_healing(
    previous: ReferenceProfile,
    inputs: Sketch,
    *,
    names: Sequence[str],
    is_input: Sequence[bool],
    values: NDArray[np.float32],
    weights: NDArray[np.float64],
) -> None:
    kept = {name for name, is_kept in zip(names, is_input, strict=True) if is_kept}
    if not kept <= set(previous.names):
        raise ArtifactError(
            f"input channels {sorted(kept - set(previous.names))[:5]} are new; a healed model keeps its own"
        )
    if inputs.channels != len(previous.channels):
        raise ArtifactError(f"windows of {inputs.channels} channels, the previous profile has {len(previous.channels)}")
    if not 1 <= len(names) <= limits.MAX_CHANNELS or values.shape != (len(weights), len(names)):
        raise ArtifactError(f"values of shape {values.shape} for {len(weights)} samples and {len(names)} channels")
    if not (inputs.rows and len(weights)):
        raise ArtifactError("a healed reference needs windows and nominated samples")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ArtifactError("every nominated sample stands for more than 0 rows")


def _weighted(
    name: str, column: NDArray[np.float32], weights: NDArray[np.float64], *, rows: int, discrete: bool
) -> tuple[ReferenceChannel, Sketch]:
    """A channel made of weighted values, and its sketch of `rows` rows."""
    finite = np.isfinite(column)
    worth = float(weights[finite].sum() ** 2 / np.square(weights[finite]).sum()) if finite.any() else 0.0
    drawn = np.repeat(column, _apportioned(weights, min(rows, _DRAWN_ROWS)))
    channel = _channel(name, drawn, discrete=discrete, effective_rows=worth)
    times = np.where(finite, _apportioned(weights, rows), 0)
    edges = np.frombuffer(channel.edges, "<f4")
    z = np.rint((np.where(finite, column, 0).astype(np.float64) - channel.centre) / channel.step)
    z = np.clip(z, -LIMIT, LIMIT).astype(np.int64)
    seen = times > 0
    counts = np.zeros((1, limits.HISTOGRAM_BINS), np.int64)
    np.add.at(counts[0], edges.searchsorted(column, side="right")[seen], times[seen])
    nothing = np.zeros(1, np.int64)
    sketch = Sketch(
        rows=rows,
        counts=counts,
        total=np.array([(z * times).sum()]),
        squares=np.array([(z * z * times).sum()]),
        pairs=nothing,
        steps=nothing,
        low=np.array([z.min(where=seen, initial=LIMIT)]),
        high=np.array([z.max(where=seen, initial=-LIMIT)]),
    )
    return channel, sketch


def _apportioned(weights: NDArray[np.float64], rows: int) -> NDArray[np.int64]:
    """Whole numbers in proportion to the weights whose sum is `rows`."""
    ends = np.rint(np.cumsum(weights) / weights.sum() * rows).astype(np.int64)
    return np.asarray(np.diff(ends, prepend=0))


def _column_of(sketch: Sketch, channel: int) -> Sketch:
    one = slice(channel, channel + 1)
    return Sketch(
        rows=sketch.rows,
        counts=sketch.counts[one],
        total=sketch.total[one],
        squares=sketch.squares[one],
        pairs=sketch.pairs[one],
        steps=sketch.steps[one],
        low=sketch.low[one],
        high=sketch.high[one],
    )


def _side_by_side(columns: Sequence[Sketch]) -> Sketch:
    return Sketch(
        rows=columns[0].rows,
        counts=np.concatenate([column.counts for column in columns]),
        total=np.concatenate([column.total for column in columns]),
        squares=np.concatenate([column.squares for column in columns]),
        pairs=np.concatenate([column.pairs for column in columns]),
        steps=np.concatenate([column.steps for column in columns]),
        low=np.concatenate([column.low for column in columns]),
        high=np.concatenate([column.high for column in columns]),
    )


# -- warnings --------------------------------------------------------------------------------------


def _constant_warning(profile: ReferenceProfile, summary: Sketch) -> str:
    constant = [
        channel.name
        for channel, low, high, present in zip(
            profile.channels, summary.low.tolist(), summary.high.tolist(), summary.present.tolist(), strict=True
        )
        if not channel.discrete and (low == high or present == 0)
    ]
    if not constant:
        return ""
    return (
        f"{_named(constant)} never changed in these rows: no distribution can be compared with theirs, only that they"
        " begin to change; leave them out, or bring rows in which they move"
    )


def _wandering_warning(profile: ReferenceProfile) -> str:
    """The longest blocks still differ: a cycle or trend that the rows do not cover several times."""
    wandering = [
        channel.name
        for channel in profile.channels
        if len(channel.wander) and np.frombuffer(channel.wander, "<f4")[-1] >= _WANDERS
    ]
    if not wandering:
        return ""
    return (
        f"{_named(wandering)} differ between the quarters of these rows: they are shorter than the process's cycle, or"
        " follow a trend; drift of that size will not be told; bring rows of several cycles"
    )


def _slow_warning(profile: ReferenceProfile, summary: Sketch) -> str:
    slow = [
        channel.name
        for channel, present in zip(profile.channels, summary.present.tolist(), strict=True)
        if present and present * (1 - max(channel.lag1, 0.0)) / (1 + max(channel.lag1, 0.0)) < _LEAST_INDEPENDENT
    ]
    if not slow:
        return ""
    return (
        f"{_named(slow)} change so slowly that these rows are worth fewer than {_LEAST_INDEPENDENT:g} independent ones:"
        " expect NOT_ENOUGH_EVIDENCE; bring rows of a longer time"
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


# -- reading ---------------------------------------------------------------------------------------


def _variance(sketch: Sketch) -> NDArray[np.float64]:
    """Of z, exact until the last division: (n * squares - total^2) / n^2 in Python's integers."""
    present = sketch.present.tolist()
    columns = zip(present, sketch.total.tolist(), sketch.squares.tolist(), strict=True)
    return np.array([(n * squares - total**2) / n**2 if n else 0.0 for n, total, squares in columns])


def _check_channel(channel: ReferenceChannel, *, lengths: int) -> None:
    name = channel.name[:80]
    edges = np.frombuffer(channel.edges, "<f4") if len(channel.edges) == 4 * EDGES else np.empty(0)
    if len(edges) != EDGES or not (edges[1:] >= edges[:-1]).all():
        raise ArtifactError(f"channel {name!r} of the reference profile needs {EDGES} ascending edges")
    if not (np.isfinite(channel.centre) and np.isfinite(channel.step) and channel.step > _LEAST_STEP):
        raise ArtifactError(
            f"channel {name!r} of the reference profile has centre {channel.centre}, step {channel.step}"
        )
    if not (0 <= channel.effective_rows <= MAX_ROWS and -1 <= channel.lag1 <= 1):
        raise ArtifactError(
            f"channel {name!r} of the reference profile is worth {channel.effective_rows} rows, lag-1 {channel.lag1}"
        )
    if len(channel.wander) != 4 * lengths or not _are_shares(channel.wander):
        raise ArtifactError(f"channel {name!r} of the reference profile has damaged block distances")


def _check_shared(profile: ReferenceProfile) -> None:
    lengths = profile.block_rows
    if any(length < 1 or length > MAX_ROWS for length in lengths) or sorted(set(lengths)) != list(lengths):
        raise ArtifactError(f"the reference profile's blocks of {lengths} rows must ascend from 1")
    if len(profile.calibration) not in (0, 4 * limits.HISTOGRAM_BINS) or not _are_shares(profile.calibration):
        raise ArtifactError("the reference profile's calibration needs 32 shares")


def _are_shares(data: bytes) -> bool:
    values = np.frombuffer(data, "<f4")
    return bool(((values >= 0) & (values <= 1)).all())
