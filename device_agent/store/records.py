"""What goes into a spool and what comes out of it, as values: entries, and records cut into messages.

Nothing here knows a file, a lock or a connection; see `device_agent.store.spool`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from device_agent.store.tables import Row
from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.messages import Record, Records
from edgeops.protocol.topics import SPOOLED, UpKind

#: In which order the kinds of one `take` are handed out.
_ORDER = (UpKind.REPORTS, UpKind.BENCHMARKS, UpKind.TELEMETRY, UpKind.SAMPLES, UpKind.PREDICTIONS)
#: Room in one message for the records, the envelope taken off.
_BODY_BYTES = limits.MAX_MESSAGE_BYTES - 1024
_RECORD_OVERHEAD_BYTES = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One record that has no number yet, and where its source stands behind it."""

    kind: UpKind
    data: bytes
    #: (deployment, position).
    checkpoint: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a deployment's samples of one day take together."""

    deployment: str
    #: By the device's own clock, `2026-11-01`.
    day: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one kind that fit one message."""

    kind: UpKind
    body: Records


def check(kind: UpKind, data: bytes) -> None:
    """Raises MessageError: another kind than `SPOOLED`, or more than MAX_RECORD_BYTES."""
    if kind not in SPOOLED:
        raise MessageError(f"{kind} does not go through the spool; only {', '.join(sorted(SPOOLED))} do")
    if len(data) > limits.MAX_RECORD_BYTES:
        raise MessageError(f"a {kind} record of {len(data)} bytes exceeds {limits.MAX_RECORD_BYTES}; cut it in two")


def cut(rows: Sequence[Row], *, spool: bytes, boot: str, up_ms: int) -> Iterator[Batch]:
    """Cut into messages: one kind, MAX_RECORDS_PER_MESSAGE, within the size."""
    for kind in _ORDER:
        batch: list[Record] = []
        size = 0
        for row in rows:
            if row.kind is not kind:
                continue
            cost = len(row.data) + 5 * len(row.absorbed) + _RECORD_OVERHEAD_BYTES
            if batch and (len(batch) == limits.MAX_RECORDS_PER_MESSAGE or size + cost > _BODY_BYTES):
                yield Batch(kind, Records(spool=spool, records=tuple(batch)))
                batch, size = [], 0
            age_ms = max(0, up_ms - row.up_ms) if row.boot == boot else -1
            record = Record(seq=row.seq, age_ms=age_ms, at_ms=row.at_ms, data=row.data, absorbed=row.absorbed)
            batch.append(record)
            size += cost
        if batch:
            yield Batch(kind, Records(spool=spool, records=tuple(batch)))
