"""The latest inputs that one model answered, bounded in number and memory: what a device can nominate from.

A ring in memory, for one thread: it takes one input per inference and hands out copies. It begins empty with every
start of the agent. An input on which a shadow disagreed keeps its place against newer ones that it did not disagree on,
within a part of the ring: such inputs are rare, and labels are spent on them first. Which inputs are worth a label is
`edgeops.learning.sampling`'s decision, who may ask for them `device_agent.nomination`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Manifest
from edgeops.model.postprocess import Prediction

#: What an input takes beside its arrays: an id, four numbers and a time as Python objects.
_ENTRY_BYTES = 360


class Entry(NamedTuple):
    """What is known of one pooled input beside its readings and embedding."""

    input_id: str
    answer: float
    confidence: float
    margin: float
    #: When it was answered, on the clock of whoever filled the pool.
    at_ns: int
    #: What a shadow answered, where one did, and whether that disagrees.
    shadow_answer: float | None = None
    disagrees: bool = False


@dataclass(frozen=True, slots=True)
class Pooled:
    """A copy of a pool, oldest first."""

    #: Nanoseconds on the pool's clock when the copy was made.
    now_ns: int
    entries: Sequence[Entry]
    #: Raw readings, float32 (n, rows, columns).
    windows: NDArray[np.float32]
    #: float32 (n, size); None when the model has none.
    embeddings: NDArray[np.float32] | None
    #: Why there is nothing; for people.
    reason: str = ""

    @classmethod
    def nothing(cls, reason: str) -> Self:
        """No input, and why."""
        return cls(0, (), np.empty((0, 0, 0), np.float32), None, reason)


_AT_NS = Entry._fields.index("at_ns")
_NOTED_FROM = Entry._fields.index("shadow_answer")


class Pool:
    """The ring of one model."""

    __slots__ = ("_at", "_capacity", "_embeddings", "_entries", "_held", "_last", "_most_held", "_windows")

    def __init__(
        self, manifest: Manifest, *, inputs: int = limits.POOL_INPUTS, max_bytes: int = limits.POOL_BYTES
    ) -> None:
        """An empty ring of `inputs`, or of as many as fit `max_bytes`; it takes memory as it fills."""
        window = (manifest.window.rows, len(manifest.window.columns))
        at = manifest.output.embedding
        size = 0 if at is None else prod(manifest.outputs[at].shape)
        self._capacity = max(1, min(inputs, max_bytes // (4 * prod(window) + 4 * size + _ENTRY_BYTES)))
        #: Pages of these arrays become memory when they are written.
        self._windows = np.empty((self._capacity, *window), np.float32)
        self._embeddings = np.empty((self._capacity, size), np.float32) if size else None
        #: Plain tuples in the order of `Entry`, which would cost an inference more; its last two only where a shadow
        #: answered.
        self._entries: list[tuple[Any, ...]] = []
        #: Where the next input goes, unless something is held there; where the last one went.
        self._at = self._last = 0
        #: Places of inputs that a shadow disagreed on, oldest first.
        self._held: dict[int, None] = {}
        self._most_held = int(limits.POOL_DISAGREEMENTS * self._capacity)

    def keep(self, window: NDArray[np.float32], prediction: Prediction, input_id: str, now_ns: int) -> None:
        """Copy one input, float32 (rows, columns), in place of the oldest that is not held."""
        at = self._at
        if self._held:
            while at in self._held:
                at = (at + 1) % self._capacity
        self._windows[at] = window
        if self._embeddings is not None:
            self._embeddings[at] = prediction.embedding
        entry = (input_id, prediction.answer, prediction.confidence, prediction.margin, now_ns)
        if at == len(self._entries):
            self._entries.append(entry)
        else:
            self._entries[at] = entry
        self._last = at
        at += 1
        self._at = at if at < self._capacity else 0

    def note(self, shadow_answer: float, *, disagrees: bool) -> None:
        """What a shadow answered to the input that was kept last."""
        last = self._last
        self._entries[last] = (*self._entries[last][:_NOTED_FROM], shadow_answer, disagrees)
        if disagrees and self._most_held:
            self._held[last] = None
            if len(self._held) > self._most_held:
                del self._held[next(iter(self._held))]

    def copy(self, now_ns: int, *, since_ns: int) -> Pooled:
        """The inputs answered at `since_ns` or later, oldest first."""
        count = len(self._entries)
        ordered = [*range(self._at, count), *range(self._at)] if count == self._capacity else range(count)
        if self._held:
            ordered = sorted(ordered, key=lambda at: self._entries[at][_AT_NS])
        chosen = [at for at in ordered if self._entries[at][_AT_NS] >= since_ns]
        return Pooled(
            now_ns,
            tuple(Entry(*self._entries[at]) for at in chosen),
            self._windows[chosen],
            None if self._embeddings is None else self._embeddings[chosen],
        )
