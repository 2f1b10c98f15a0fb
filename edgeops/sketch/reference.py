"""The reference profile: what a model's channels looked like on the rows it was trained on.

It travels inside the artifact and holds, per channel, the bin edges and the grid that every window is measured with,
the lag-1 autocorrelation and how much the reference wanders by itself (both only if its rows came in time order), and
how many rows its counts are worth; also what a confidence is worth and the histograms per answered class, or how far
off a number may be. The reference rows' own sketch carries counts, moments and missing values.

A first model's profile is learnt from its rows (`edgeops.sketch.learnt`), a healed one's is made without those of its
inputs (`edgeops.sketch.healed`). This module does not compare windows with it.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.errors import ArtifactError, MessageError
from edgeops.sketch.by_class import ClassSketches
from edgeops.sketch.histogram import EDGES
from edgeops.sketch.packing import unpack
from edgeops.sketch.window import MAX_ROWS, Sketch

FORMAT = 1
#: Far below what float32 readings can differ by; keeps the arithmetic finite.
_LEAST_STEP = 1e-100


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
    #: Half-width of the interval around a number, in its units, per bin of the answer channel, 32 little-endian
    #: float32; empty = unknown.
    intervals: bytes = b""

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

    def half_widths(self) -> NDArray[np.float64] | None:
        """Per bin of the answer channel (32,), in units (`edgeops.sketch.intervals`); None = unknown."""
        return np.frombuffer(self.intervals, "<f4").astype(np.float64) if self.intervals else None


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
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


def _check_channel(channel: ReferenceChannel, *, lengths: int) -> None:
    name = channel.name[:80]
    if len(channel.edges) != 4 * EDGES or not _ascend(channel.edges):
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
    if len(profile.intervals) not in (0, 4 * limits.HISTOGRAM_BINS) or not _are_widths(profile.intervals):
        raise ArtifactError("the reference profile's intervals need 32 half-widths of 0 or more")


def _ascend(data: bytes) -> bool:
    values = np.frombuffer(data, "<f4")
    return bool((values[1:] >= values[:-1]).all())


def _are_widths(data: bytes) -> bool:
    values = np.frombuffer(data, "<f4")
    return bool((np.isfinite(values) & (values >= 0)).all())


def _are_shares(data: bytes) -> bool:
    values = np.frombuffer(data, "<f4")
    return bool(((values >= 0) & (values <= 1)).all())
