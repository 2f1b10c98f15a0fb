"""Makes a model's reference profile from the rows it was trained on, as the file that ships shows them."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import ArtifactError
from edgeops.sketch.alarms import cut_at
from edgeops.sketch.by_class import ClassSketches, owners
from edgeops.sketch.calibration import Calibration, fit_calibration
from edgeops.sketch.histogram import bin_counts, class_edges, quantile_edges
from edgeops.sketch.intervals import Held, fit_half_widths
from edgeops.sketch.packing import pack
from edgeops.sketch.reference import FORMAT, ReferenceChannel, ReferenceProfile
from edgeops.sketch.summary import autocorrelation
from edgeops.sketch.wander import block_lengths, cell_rows, wander
from edgeops.sketch.window import LIMIT, Sketch, Sketcher

#: Grid steps in one standard deviation of the reference, and of its middle half where that is less.
_STEPS_PER_DEVIATION = 32
_QUARTILES_APART = 1.349
#: The reference's own values reach no further than this share of the grid.
_REACH = 0.5
#: Grid steps in the magnitude of a channel that never changed.
_STEPS_PER_CONSTANT = 1024


def build_reference(
    values: NDArray[np.float32],
    names: Sequence[str],
    *,
    discrete: Collection[str],
    ordered: bool = False,
    answer: str | None = None,
    calibration: Calibration | None = None,
    borders: Mapping[str, np.float32] | None = None,
) -> ReferenceProfile:
    """The profile of rows (n, channels); NaN = missing.

    `discrete` names the channels that hold whole numbers (the class). `ordered` says that the rows are consecutive
    rows of one source in time order; only then autocorrelation and wandering can be told from them. `answer` names
    the channel that holds the answered class. `borders` are values at which a channel's bins are cut.

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
            profile_channel(
                name, column, discrete=name in discrete, effective_rows=float(rows), border=(borders or {}).get(name)
            )
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
    return with_calibration(profile, calibration)


def profile_channel(
    name: str,
    column: NDArray[np.float32],
    *,
    discrete: bool,
    effective_rows: float,
    border: np.float32 | None = None,
) -> ReferenceChannel:
    """Edges and grid of a channel from its values (n,), NaN = missing; nothing yet of order in time."""
    present = column[np.isfinite(column)]
    if discrete:
        edges, centre, step = class_edges(present), 0.0, 1.0
    else:
        edges = quantile_edges(present)
        edges = edges if border is None else cut_at(edges, border)
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
    edges, columns, finite = profile.grid.edges, np.ascontiguousarray(values.T), np.isfinite(values.T)
    pieces = [slice(start * rows, (start + 1) * rows) for start in range(whole_cells)]
    cells = np.array([bin_counts(columns[:, piece], edges, finite[:, piece]) for piece in pieces])
    wandered = wander(cells.reshape(whole_cells, len(lags), limits.HISTOGRAM_BINS), lengths).T
    channels = tuple(
        msgspec.structs.replace(channel, lag1=float(lag), wander=column.astype("<f4").tobytes())
        for channel, lag, column in zip(profile.channels, lags, wandered, strict=True)
    )
    return msgspec.structs.replace(profile, channels=channels, block_rows=tuple(rows * length for length in lengths))


def with_calibration(profile: ReferenceProfile, calibration: Calibration | None) -> ReferenceProfile:
    """The profile with what a confidence is worth, where that is known."""
    if calibration is None:
        return profile
    edges = profile.grid.edges[_position(profile.names, calibration.channel)]
    fitted = fit_calibration(calibration.confidence, calibration.correct, edges)
    return msgspec.structs.replace(profile, calibration=fitted.astype("<f4").tobytes())


def with_intervals(profile: ReferenceProfile, held: Held, *, answer: str) -> ReferenceProfile:
    """The profile with how far off a number may be, where there are rows enough to tell.

    Raises:
        ArtifactError: the channel `answer` does not exist.
    """
    fitted = fit_half_widths(held, profile.grid.edges[_position(profile.names, answer)])
    if fitted is None:
        return profile
    return msgspec.structs.replace(profile, intervals=fitted.astype("<f4").tobytes())
