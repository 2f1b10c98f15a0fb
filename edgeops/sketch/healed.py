"""Makes a healed model's reference profile from what devices saw: from sketches and a few samples."""

from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import ArtifactError
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.learnt import profile_channel, with_calibration
from edgeops.sketch.packing import pack
from edgeops.sketch.reference import FORMAT, ReferenceChannel, ReferenceProfile
from edgeops.sketch.window import LIMIT, Sketch

#: A weighted channel is measured by so many of its rows at most.
_DRAWN_ROWS = 20_000


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
    return with_calibration(profile, calibration)


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
    channel = profile_channel(name, drawn, discrete=discrete, effective_rows=worth)
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
