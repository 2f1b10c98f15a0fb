"""Answers to requests for samples: which pooled inputs leave this device, and what they may cost it in a day.

Each command is answered once, however often it comes and over restarts: its records, its name and what it cost the
day are one transaction of the spool. A nomination that does not fit the day is made smaller before it is chosen, so
that what is left is still spread over the pool. Choosing is `edgeops.learning.sampling`'s; whether an input may be
pooled at all is decided in `device_agent.core`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from device_agent.pool import Pooled
from device_agent.store.records import Spent
from device_agent.store.spool import Spool
from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.learning.sampling import nominate, places
from edgeops.protocol.messages import Nominate, Sample, Samples, encode
from edgeops.protocol.topics import UpKind

#: The most that one sample takes on the wire beside its readings and id, and a record beside its samples.
_SAMPLE_OVERHEAD_BYTES = 64
_RECORD_OVERHEAD_BYTES = 256 + limits.MAX_DETAIL_LENGTH


class Nominations:
    """One device's answers; safe to call from any thread."""

    def __init__(self, spool: Spool, *, wall: Callable[[], float] = time.time) -> None:
        """`wall` is the device's clock in seconds since 1970, which says what day it is."""
        self._spool = spool
        self._wall = wall
        #: Mishaps by stable name.
        self.counters: Counter[str] = Counter()

    def are_answered(self, command: str) -> bool:
        """Whether the answer to this command is in the spool, or was acknowledged."""
        return self._spool.knows(_name(command))

    def answer(self, command: str, request: Nominate, pooled: Pooled) -> None:
        """Choose among `pooled` and spool the answer; does nothing if the command is answered.

        Raises:
            PlatformError: the spool cannot take it; nothing was spent.
        """
        if self.are_answered(command):
            return
        day = datetime.fromtimestamp(self._wall(), UTC).date().isoformat()
        before = self._spool.spent_bytes(request.deployment, day)
        cost = _sample_bytes(pooled)
        wanted = min(request.count, len(pooled.entries))
        count = min(wanted, max(0, limits.SAMPLE_BYTES_PER_DAY - before) // cost)
        detail = pooled.reason
        if not pooled.entries:
            self.counters["samples.declined"] += 1
        if count < wanted:
            self.counters["samples.over-budget"] += wanted - count
            detail = (
                f"{count} of {wanted} inputs fit what is left of the day's {limits.SAMPLE_BYTES_PER_DAY} bytes; "
                "it begins anew at midnight UTC"
            )
        chosen = _choose(pooled, count, request)
        if len(chosen) < count:
            detail = f"{len(chosen)} of {request.count} inputs; the others differ too little from these"
        spent = Spent(request.deployment, day, before + len(chosen) * cost)
        records = [
            (UpKind.SAMPLES, encode(record)) for record in _records(command, request, pooled, chosen, detail=detail)
        ]
        self._spool.append_all(records, once=_name(command), spent=spent)


def _name(command: str) -> str:
    return f"command {command}"


def _choose(pooled: Pooled, count: int, request: Nominate) -> Sequence[Sample]:
    if count == 0:
        return ()
    nominees = nominate(
        places(pooled.windows, pooled.embeddings),
        np.array([1.0 - entry.margin for entry in pooled.entries]),
        count,
        random_share=request.random_share,
        random=np.random.default_rng(request.seed),
        first=np.array([entry.disagrees for entry in pooled.entries]) if request.disagreements else None,
    )
    return [
        Sample(
            input_id=entry.input_id,
            age_ms=max(0, pooled.now_ns - entry.at_ns) // 1_000_000,
            values=_readings(pooled.windows[nominee.index]),
            answer=entry.answer,
            confidence=entry.confidence,
            weight=float(nominee.weight),
            by_chance=nominee.by_chance,
            shadow_answer=entry.shadow_answer,
        )
        for nominee in nominees
        for entry in (pooled.entries[nominee.index],)
    ]


def _readings(window: NDArray[np.float32]) -> bytes:
    """As they travel: what is infinite is as missing as it was to the model."""
    return np.where(np.isinf(window), np.float32("nan"), window).astype("<f4").tobytes()


def _sample_bytes(pooled: Pooled) -> int:
    """What one sample of this pool takes at most."""
    longest = max((len(entry.input_id.encode()) for entry in pooled.entries), default=0)
    return 4 * int(np.prod(pooled.windows.shape[1:])) + longest + _SAMPLE_OVERHEAD_BYTES


def _records(
    command: str, request: Nominate, pooled: Pooled, samples: Sequence[Sample], *, detail: str
) -> Iterator[Samples]:
    """The samples in records that fit the spool; at least one."""
    room = (limits.MAX_RECORD_BYTES - _RECORD_OVERHEAD_BYTES) // _sample_bytes(pooled)
    size = max(1, min(room, limits.MAX_SAMPLES_PER_RECORD))
    starts = range(0, max(1, len(samples)), size)
    for part, start in enumerate(starts):
        last = part == len(starts) - 1
        yield Samples(
            deployment=request.deployment,
            digest=digest_raw(request.digest),
            nomination=command,
            pool=len(pooled.entries),
            last=last,
            detail=detail[: limits.MAX_DETAIL_LENGTH] if last else "",
            samples=tuple(samples[start : start + size]),
            part=part,
        )
