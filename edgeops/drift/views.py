"""What a group of devices shows together, such that no single device decides it.

Every device's rows are capped at three times the typical device's, once, from its sums. In a group of three or more
devices they are then dealt to up to five **voices** of about equal rows, and the group's cumulative histogram is the
median of theirs, bin by bin (a median of means: Nemirovsky and Yudin 1983). One device, whatever it reports, speaks
with one voice at most, and the others bound what it can do. Where two of the group speak and the others sleep, each
has a voice. A group of one or two devices can outvote nobody, and the view is their capped sum; so it is where one of
the group speaks alone. A device with less than a quarter of the typical rows has no say yet.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.statistics import cumulative

Floats = NDArray[np.float64]

CAP = 3.0
_LEAST_SHARE = 0.25
_MOST_VOICES = 5
#: Powers of an odd number, modulo 2^64: sums of their multiples tell histograms apart (Karp and Rabin 1987).
_SALT = np.cumprod(np.full(64 * 32, 0x9E3779B97F4A7C15, np.uint64))
#: Of the median of so many equal voices, against their mean (normal order statistics).
_EFFICIENCY = (0.0, 1.0, 1.0, 0.743, 0.838, 0.697)


@dataclass(frozen=True, slots=True, eq=False)
class GroupView:
    """A group's histogram per channel, and what is behind it."""

    #: (channels, 32) cumulative shares.
    cumulative: Floats
    #: (voices, channels, 32) cumulative shares, and capped rows, (voices, channels).
    voices: Floats
    rows: Floats
    #: (channels,) rows that the view is worth if they were independent.
    worth: Floats

    @property
    def capped_sum(self) -> Floats:
        """(channels, 32) cumulative shares of all capped rows."""
        return cumulative((np.diff(self.voices, axis=-1, prepend=0) * self.rows[..., np.newaxis]).sum(axis=0))


def typical_rows(present: Floats) -> Floats:
    """The lower median over devices (..., devices, channels) that sent any, (..., channels); 0 if none did.

    The lower one, so that of two devices the larger is capped.
    """
    typical = _pick(present, present > 0, upper=False)
    return np.asarray(np.where(np.isfinite(typical), typical, 0.0))


def typical_lag(lag1: Floats, present: Floats) -> Floats:
    """The upper median of autocorrelations over devices (..., devices, channels) that have a say.

    What one device tells of its moments could claim any; the upper one errs towards fewer independent rows.
    """
    typical = _pick(lag1, capped_rows(present) > 0, upper=True)
    return np.asarray(np.where(np.isfinite(typical), typical, 0.0))


def capped_rows(present: Floats) -> Floats:
    """Rows (..., devices, channels) that count in a group."""
    typical = typical_rows(present)[..., np.newaxis, :]
    return np.asarray(np.where(present >= _LEAST_SHARE * typical, np.minimum(present, CAP * typical), 0.0))


def group_view(counts: Floats, *, outvotes: bool) -> GroupView:
    """The view of histograms (devices, channels, 32), whatever the order of the devices.

    `outvotes` says that the group has three devices or more, whether they speak here or not.
    """
    counts = counts[_by_content(counts)]
    present = counts.sum(axis=-1)
    capped = capped_rows(present)
    weighted = counts * np.divide(capped, present, out=np.zeros(present.shape), where=present > 0)[..., np.newaxis]
    members = _voices(capped.max(axis=1), most=_MOST_VOICES if outvotes else 1)
    voices = np.stack([weighted[list(devices)].sum(axis=0) for devices in members])
    rows, shares = voices.sum(axis=-1), cumulative(voices)
    return GroupView(cumulative=_median(shares, rows > 0), voices=shares, rows=rows, worth=_worth(rows))


def _by_content(counts: Floats) -> NDArray[np.intp]:
    """An order of the devices that hangs on nothing but what they counted."""
    flat = counts.reshape(len(counts), -1).astype(np.uint64)
    return np.argsort(flat @ _SALT[: flat.shape[1]], kind="stable")


def _voices(rows: Floats, *, most: int) -> list[tuple[int, ...]]:
    """Devices (devices,) dealt to voices of about equal rows: the largest first, each to the voice that has least."""
    speaking = np.flatnonzero(rows > 0)
    count = max(min(most, len(speaking)), 1)
    heap: list[tuple[float, int, tuple[int, ...]]] = [(0.0, voice, ()) for voice in range(count)]
    for device in speaking[np.argsort(-rows[speaking], kind="stable")].tolist():
        least, voice, members = heap[0]
        heapq.heapreplace(heap, (least + float(rows[device]), voice, (*members, device)))
    return [members for _, _, members in sorted(heap, key=lambda entry: entry[1])]


def _worth(rows: Floats) -> Floats:
    """Rows that the median of voices (voices, channels) is worth; the small ones make it uncertain."""
    speaking = (rows > 0).sum(axis=0)
    inverse = np.divide(1.0, rows, out=np.zeros(rows.shape), where=rows > 0).sum(axis=0)
    harmonic = np.divide(np.square(speaking), inverse, out=np.zeros(len(inverse)), where=inverse > 0)
    return np.asarray(np.array(_EFFICIENCY)[speaking] * harmonic)


def _median(shares: Floats, is_heard: NDArray[np.bool_]) -> Floats:
    """Of the voices (voices, channels, 32) that are heard (voices, channels), bin by bin; 0 where none is."""
    ascending = np.sort(np.where(is_heard[..., np.newaxis], shares, np.inf), axis=0)
    count = is_heard.sum(axis=0)
    lower, upper = (
        np.take_along_axis(ascending, np.maximum(place, 0)[np.newaxis, :, np.newaxis], axis=0)[0]
        for place in ((count - 1) // 2, count // 2)
    )
    return np.asarray(np.where(count[:, np.newaxis] > 0, (lower + upper) / 2, 0.0))


def _pick(values: Floats, counts: NDArray[np.bool_], *, upper: bool) -> Floats:
    """The lower or upper median over the devices that count; inf where none does."""
    ascending = np.sort(np.where(counts, values, np.inf), axis=-2)
    number = counts.sum(axis=-2)
    middle = number // 2 if upper else np.maximum(number - 1, 0) // 2
    return np.asarray(np.take_along_axis(ascending, middle[..., np.newaxis, :], axis=-2)[..., 0, :])
