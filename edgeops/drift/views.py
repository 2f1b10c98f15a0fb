"""What a group of devices shows together, such that no single device decides it.

Every device's rows are capped at three times the typical device's, once, from its sums. With three or more devices
they are then dealt to three or five **voices** of about equal rows, and the group's cumulative histogram is the median
of theirs, bin by bin (a median of means: Nemirovsky and Yudin 1983). One device, whatever it reports, speaks with one
voice at most, and the median of the others bounds what it can do. That costs evidence: the view is worth about a third
of the rows behind it, see `_WORTH`. With one or two devices there is nobody to outvote, and the view is their capped
sum. A device with less than a quarter of the typical rows has no say yet.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops.drift.statistics import cumulative
from edgeops.sketch.window import Sketch

Floats = NDArray[np.float64]

CAP = 3.0
_LEAST_SHARE = 0.25
#: Voices that a liar cannot outvote.
_FEWEST_VOICES = 3
_MOST_VOICES = 5
#: voices -> (the smallest voices that count, what each of their rows is worth). For the median of v voices to err by x
#: beside one liar, (v - 1) / 2 honest ones must err by x in their own histograms; the factor makes the p-value of the
#: sum an upper bound of that probability between .05 and 1e-5.
_WORTH = {3: (1, 0.85), 4: (1, 0.8), 5: (2, 0.7)}


@dataclass(frozen=True, slots=True, eq=False)
class GroupView:
    """A group's histogram per channel."""

    #: (channels, 32) cumulative shares.
    cumulative: Floats
    #: (channels,) rows that the view is worth if they were independent.
    worth: Floats
    #: (channels,) capped rows behind it.
    rows: Floats


def typical_rows(present: Floats) -> Floats:
    """The lower median over devices (..., devices, channels) that sent any, (..., channels); 0 if none did.

    The lower one, so that of two devices the larger is capped.
    """
    sent = np.sort(np.where(present > 0, present, np.inf), axis=-2)
    middle = np.maximum((present > 0).sum(axis=-2) - 1, 0) // 2
    typical = np.take_along_axis(sent, middle[..., np.newaxis, :], axis=-2)[..., 0, :]
    return np.asarray(np.where(np.isfinite(typical), typical, 0.0))


def capped_rows(present: Floats) -> Floats:
    """Rows (..., devices, channels) that count in a group."""
    typical = typical_rows(present)[..., np.newaxis, :]
    return np.asarray(np.where(present >= _LEAST_SHARE * typical, np.minimum(present, CAP * typical), 0.0))


def group_view(per_device: Mapping[str, Sketch]) -> GroupView:
    """The view of one sketch per device."""
    return view_of(np.array([per_device[device].counts for device in sorted(per_device)], np.float64))


def view_of(counts: Floats) -> GroupView:
    """The view of histograms (devices, channels, 32)."""
    present = counts.sum(axis=-1)
    capped = capped_rows(present)
    weighted = counts * np.divide(capped, present, out=np.zeros(present.shape), where=present > 0)[..., np.newaxis]
    voices = np.stack([weighted[list(members)].sum(axis=0) for members in _voices(capped.max(axis=1))])
    rows = voices.sum(axis=-1)
    speaking = (rows > 0).sum(axis=0)
    merged = cumulative(voices.sum(axis=0))
    median = _median(cumulative(voices), rows)
    outvotes = speaking >= _FEWEST_VOICES
    return GroupView(
        cumulative=np.where(outvotes[:, np.newaxis], median, merged),
        worth=np.where(outvotes, _worth(rows, speaking), rows.sum(axis=0)),
        rows=rows.sum(axis=0),
    )


def _voices(rows: Floats) -> list[tuple[int, ...]]:
    """Devices (devices,) dealt to voices of about equal rows: the largest first, each to the voice that has least."""
    speaking = np.flatnonzero(rows > 0)
    if len(speaking) < _FEWEST_VOICES:
        return [tuple(speaking.tolist())]
    count = min(_MOST_VOICES, len(speaking) - (len(speaking) + 1) % 2)
    heap: list[tuple[float, int, tuple[int, ...]]] = [(0.0, voice, ()) for voice in range(count)]
    for device in speaking[np.argsort(-rows[speaking], kind="stable")].tolist():
        least, voice, members = heap[0]
        heapq.heapreplace(heap, (least + float(rows[device]), voice, (*members, device)))
    return [members for _, _, members in sorted(heap, key=lambda entry: entry[1])]


def _median(shares: Floats, rows: Floats) -> Floats:
    """Of the voices (voices, channels, 32) that have rows (voices, channels)."""
    heard = np.where(rows[..., np.newaxis] > 0, shares, np.nan)
    heard[:, (rows <= 0).all(axis=0)] = 0
    return np.asarray(np.nanmedian(heard, axis=0))


def _worth(rows: Floats, speaking: NDArray[np.intp]) -> Floats:
    """(channels,): see `_WORTH`."""
    ascending = np.sort(np.where(rows > 0, rows, np.inf), axis=0)
    worth = np.zeros(rows.shape[1])
    for voices, (smallest, factor) in _WORTH.items():
        if voices <= len(rows):
            worth = np.where(speaking == voices, factor * ascending[:smallest].sum(axis=0), worth)
    return np.asarray(worth)
