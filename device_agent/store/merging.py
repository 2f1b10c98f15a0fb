"""Merges telemetry windows that have not left the device, so that a long silence costs little space.

Pure. Counts and sketches merge exactly (edgeops.sketch.window); of the latency percentiles the median is
weighed by rows and the 95th is the larger one, which never makes a slow model look fast. What was held against a shadow
merges with what was held against the same one, counted in the same cells, and with nothing else.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.messages import Paired, Phase, Window, decode, encode
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.window import MAX_ROWS, merge

#: One spooled window: its seq, its bytes, the seqs it answers for already.
Spooled = tuple[int, bytes, tuple[int, ...]]
#: What windows must share: deployment, artifact, phase, and (shadow, number of cells) or None.
_Kind = tuple[str, bytes, Phase, tuple[bytes, int] | None]


def merge_records(records: Sequence[Spooled], max_absorbed: int) -> Iterator[Spooled]:
    """Merge the windows of the same deployment, artifact, phase and shadow.

    Args:
        records: NEW telemetry records, oldest first.
        max_absorbed: seqs that one record may answer for beside its own.

    Yields:
        What each merged record becomes: the newest seq of its group, the merged bytes, and all seqs that it
        answers for. Records that stay alone are not yielded.
    """
    groups: dict[_Kind, list[tuple[int, Window, tuple[int, ...]]]] = {}
    for seq, data, absorbed in records:
        try:
            window = decode(data, Window)
            if window.sketch:
                unpack(window.sketch)
        except MessageError:
            continue  # It leaves as it is: the server sets it aside, and the rest goes on.
        groups.setdefault(_kind(window), []).append((seq, window, absorbed))
    for group in groups.values():
        for part in _within(group, max_absorbed):
            if len(part) < 2:
                continue
            data = encode(reduce(merge_windows, (window for _, window, _ in part)))
            if len(data) > limits.MAX_RECORD_BYTES:
                continue
            kept = part[-1][0]
            answers_for = [seq for own, _, others in part for seq in (*others, own) if seq != kept]
            yield kept, data, tuple(sorted(answers_for))


def merge_windows(first: Window, second: Window) -> Window:
    """One window that says what both said; they belong to the same deployment, artifact, phase and shadow."""
    rows = first.rows + second.rows
    return Window(
        deployment=first.deployment,
        digest=first.digest,
        phase=first.phase,
        rows=rows,
        source_rows=first.source_rows + second.source_rows,
        errors=first.errors + second.errors,
        dropped=first.dropped + second.dropped,
        duration_ms=first.duration_ms + second.duration_ms,
        latency_p50_us=_median((first.latency_p50_us, first.rows), (second.latency_p50_us, second.rows)),
        latency_p95_us=max(first.latency_p95_us, second.latency_p95_us),
        sketch=_merge_sketches(first.sketch, second.sketch),
        paired=first.paired and second.paired and _merge_paired(first.paired, second.paired),
    )


def _kind(window: Window) -> _Kind:
    paired = window.paired
    shadow = None if paired is None else (paired.shadow, len(paired.cells))
    return window.deployment, window.digest, window.phase, shadow


def _merge_paired(first: Paired, second: Paired) -> Paired:
    return Paired(
        shadow=first.shadow,
        rows=first.rows + second.rows,
        errors=first.errors + second.errors,
        shadow_errors=first.shadow_errors + second.shadow_errors,
        skipped=first.skipped + second.skipped,
        latency_p50_us=_median((first.latency_p50_us, first.rows), (second.latency_p50_us, second.rows)),
        latency_p95_us=max(first.latency_p95_us, second.latency_p95_us),
        shadow_latency_p50_us=_median(
            (first.shadow_latency_p50_us, first.rows), (second.shadow_latency_p50_us, second.rows)
        ),
        shadow_latency_p95_us=max(first.shadow_latency_p95_us, second.shadow_latency_p95_us),
        cells=tuple(map(add, first.cells, second.cells)),
        unmatched=first.unmatched + second.unmatched,
    )


def _median(*parts: tuple[int, int]) -> int:
    """Of medians, each with its rows, the one that they say together."""
    rows = sum(count for _, count in parts)
    return sum(value * count for value, count in parts) // rows if rows else 0


def _merge_sketches(first: bytes, second: bytes) -> bytes:
    if not first or not second:
        return first or second
    return pack(merge(unpack(first), unpack(second)))


def _within(
    group: Sequence[tuple[int, Window, tuple[int, ...]]], max_absorbed: int
) -> Iterator[list[tuple[int, Window, tuple[int, ...]]]]:
    """Cut a group where the merged record would answer for too many seqs or rows."""
    part: list[tuple[int, Window, tuple[int, ...]]] = []
    answered = rows = 0
    for record in group:
        _, window, absorbed = record
        if part and (answered + 1 + len(absorbed) > max_absorbed or rows + window.rows > MAX_ROWS):
            yield part
            part, answered, rows = [], 0, 0
        part.append(record)
        answered += 1 + len(absorbed)
        rows += window.rows
    if part:
        yield part
