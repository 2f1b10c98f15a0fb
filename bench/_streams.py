"""Seeded streams of sixteen channels, and their way through what a device and the server do with them.

A stream is rows of one device in time order. `windows` sends it as a device would: sketched, packed, unpacked.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import numpy as np
from scipy.signal import lfilter

from edgeops.artifact.manifest import Channel, ChannelKind
from edgeops.drift.finding import Finding
from edgeops.drift.policy import DriftPolicy
from edgeops.drift.verdict import judge
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.reference import ReferenceProfile, decode_reference, encode_reference
from edgeops.sketch.window import Sketch, Sketcher

CHANNELS = tuple(Channel(name=f"x{index}", kind=ChannelKind.COLUMN, index=index) for index in range(16))
NAMES = tuple(channel.name for channel in CHANNELS)
WINDOW = 500
POLICY = DriftPolicy()
#: Rows of a day, at one window an hour.
DAY = 24 * WINDOW

_PROCESSES = 2
_CHUNK = 10

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")


def noise(rows: int, rho: float, random: np.random.Generator, *, channels: int = len(CHANNELS)) -> Array:
    """An AR(1) process of lag-1 autocorrelation `rho` from its first row on: mean 0, variance 1, float32."""
    start = random.normal(size=(1, channels))
    steps = random.normal(size=(rows, channels)) * np.sqrt(1 - rho**2)
    values, _ = lfilter([1.0], [1.0, -rho], steps, axis=0, zi=rho * start)
    return np.asarray(values, np.float32)


def day_and_night(rows: int, phases: Array, *, first: int = 0) -> Array:
    """A sine of amplitude 1 per channel, one period in `DAY` rows; `phases` (channels,) in days."""
    days = (first + np.arange(rows))[:, np.newaxis] / DAY
    return np.sin(2 * np.pi * (days + phases)).astype(np.float32)


def reference_of(values: Array) -> ReferenceProfile:
    """The profile of rows in time order, as an artifact carries it."""
    return decode_reference(encode_reference(build_reference(values, NAMES, discrete=(), ordered=True)))


def windows(reference: ReferenceProfile, values: Array, *, rows: int = WINDOW) -> list[Sketch]:
    """What arrives of a stream, in windows of so many rows."""
    return list(arriving(reference, values, rows=rows))


def arriving(reference: ReferenceProfile, values: Array, *, rows: int = WINDOW) -> Iterator[Sketch]:
    """The same, one by one."""
    sketcher = Sketcher(reference)
    for start in range(0, len(values), rows):
        sketcher.clear()
        sketcher.add(values[start : start + rows])
        yield unpack(pack(sketcher.sketch()))


def judgements(reference: ReferenceProfile, values: Array) -> Iterator[Finding]:
    """What is said of one device after each of its windows, with all before it."""
    arrived: list[Sketch] = []
    for window in arriving(reference, values):
        arrived.append(window)
        yield judge(reference, arrived, POLICY, channels=CHANNELS)


def in_processes(study: Callable[..., Result], *arguments: Iterable[Any]) -> list[Result]:
    """`study` of each, in their order."""
    tasks: Sequence[tuple[Any, ...]] = list(zip(*arguments, strict=True))
    if len(tasks) < _CHUNK:
        return [study(*task) for task in tasks]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_PROCESSES, mp_context=spawn) as pool:
        return list(pool.map(study, *zip(*tasks, strict=True), chunksize=_CHUNK))


def cpu_seconds() -> float:
    """Of this process and of those it started that have ended."""
    return sum(os.times()[:4])
