"""A spool that nobody empties: windows merge, predictions go, nothing is counted twice."""

import numpy as np
import pytest
from msgspec.structs import replace

from device_agent.store.merging import merge_windows
from device_agent.store.spool import Spool
from edgeops.protocol.messages import Paired, Phase, SpoolAck, Window, decode, encode
from edgeops.protocol.topics import UpKind
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack, unpack
from edgeops.sketch.window import MAX_ROWS, Sketcher, merge


def window(
    rows: int, *, deployment: str = "gas", phase: Phase = Phase.LIVE, sketch: bytes = b"", p50: int = 10
) -> Window:
    return Window(
        deployment=deployment,
        digest=bytes(32),
        phase=phase,
        rows=rows,
        source_rows=rows + 1,
        errors=1,
        dropped=2,
        duration_ms=1000,
        latency_p50_us=p50,
        latency_p95_us=p50 * 2,
        sketch=sketch,
    )


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db", limit_bytes=1000)
    yield spool
    spool.close()


def taken(spool):
    return [record for batch in spool.take(1000) for record in batch.body.records]


def test_new_windows_merge_when_the_spool_is_full(spool):
    for _ in range(20):
        spool.append(UpKind.TELEMETRY, encode(window(50)))
        spool.append(UpKind.TELEMETRY, encode(window(10, phase=Phase.TRIAL)))
    records = taken(spool)
    windows = [decode(record.data, Window) for record in records]
    assert len(records) < 40
    assert sum(w.source_rows for w in windows if w.phase is Phase.LIVE) == 20 * 51
    assert sum(w.source_rows for w in windows if w.phase is Phase.TRIAL) == 20 * 11
    assert sorted(seq for r in records for seq in (r.seq, *r.absorbed)) == list(range(40))
    assert spool.counters["spool.merged"] == 40 - len(records)


def test_a_window_that_has_left_never_merges(spool):
    first = spool.append(UpKind.TELEMETRY, encode(window(50)))
    spool.take(1)
    spool.lost_contact()
    for _ in range(40):
        spool.append(UpKind.TELEMETRY, encode(window(50)))
    kept = {record.seq: record for record in taken(spool)}
    assert decode(kept[first].data, Window).rows == 50
    assert all(first not in record.absorbed for record in kept.values())


def test_a_merged_window_adds_up(spool):
    both = merge_windows(window(30, p50=10), window(10, p50=50))
    assert (both.rows, both.source_rows, both.errors, both.dropped, both.duration_ms) == (40, 42, 2, 4, 2000)
    assert (both.latency_p50_us, both.latency_p95_us) == (20, 100)


SHADOW = b"\x01" * 32


def paired(rows=4, *, shadow=SHADOW, cells=(1, 2, 0, 1), p50=10, **more) -> Paired:
    return Paired(
        shadow=shadow,
        rows=rows,
        errors=1,
        shadow_errors=2,
        skipped=3,
        latency_p50_us=p50,
        latency_p95_us=p50 * 2,
        shadow_latency_p50_us=p50 * 3,
        shadow_latency_p95_us=p50 * 4,
        cells=cells,
        unmatched=5,
        **more,
    )


def test_what_two_windows_say_of_the_same_shadow_adds_up():
    first = replace(window(30), paired=paired(30, p50=10, cells=(20, 10, 0, 0)))
    second = replace(window(10), paired=paired(10, p50=50, cells=(0, 1, 2, 7)))
    both = merge_windows(first, second).paired
    assert (both.shadow, both.rows, both.errors, both.shadow_errors) == (SHADOW, 40, 2, 4)
    assert (both.skipped, both.unmatched, both.cells) == (6, 10, (20, 11, 2, 7))
    assert (both.latency_p50_us, both.latency_p95_us) == (20, 100)
    assert (both.shadow_latency_p50_us, both.shadow_latency_p95_us) == (60, 200)


def test_pairs_without_a_row_merge():
    empty = paired(0, cells=(0, 0, 0, 0), p50=0)
    both = merge_windows(replace(window(30), paired=empty), replace(window(10), paired=empty))
    assert (both.paired.rows, both.paired.latency_p50_us, both.paired.skipped) == (0, 0, 6)


def test_windows_beside_another_shadow_or_none_stay_apart(spool):
    kinds = [None, paired(), paired(shadow=b"\x02" * 32), paired(cells=(3, 1))]
    for at in range(40):
        spool.append(UpKind.TELEMETRY, encode(replace(window(50), paired=kinds[at % 4])))
    records = taken(spool)
    windows = [decode(record.data, Window) for record in records]
    assert len(windows) < 40
    assert sum(one.rows for one in windows if one.paired is None) == 500
    for kind in kinds[1:]:
        own = [one for one in windows if one.paired is not None]
        own = [
            one.paired for one in own if (one.paired.shadow, len(one.paired.cells)) == (kind.shadow, len(kind.cells))
        ]
        assert sum(one.rows for one in own) == 40
        assert [sum(cell) for cell in zip(*(one.cells for one in own), strict=True)] == [
            10 * cell for cell in kind.cells
        ]


def test_merged_sketches_are_exact():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(400, 3)).astype(np.float32)
    reference = build_reference(values, ["a", "b", "c"], discrete=set())
    sketches = []
    for part in (values[:150], values[150:]):
        sketcher = Sketcher(reference)
        sketcher.add(part)
        sketches.append(sketcher.sketch())
    both = merge_windows(window(150, sketch=pack(sketches[0])), window(250, sketch=pack(sketches[1])))
    assert both.sketch == pack(merge(*sketches))
    assert unpack(both.sketch).rows == 400


def test_windows_of_too_many_rows_for_one_sketch_stay_apart(spool):
    for _ in range(30):
        spool.append(UpKind.TELEMETRY, encode(window(MAX_ROWS)))
    assert len(taken(spool)) == 30


def test_the_oldest_predictions_go_before_anything_else_and_are_counted(spool):
    report = spool.append(UpKind.REPORTS, b"r" * 500)
    for _ in range(100):
        spool.append(UpKind.PREDICTIONS, b"p" * 40)
    records = taken(spool)
    kept = [record.seq for record in records]
    assert report in kept
    assert max(kept) == 100
    assert spool.counters["spool.dropped"] == 101 - len(kept)
    assert sum(len(record.data) for record in records) <= 1000


def test_the_server_does_not_wait_for_what_was_given_up(spool):
    for _ in range(100):
        spool.append(UpKind.PREDICTIONS, b"p" * 40)
    # A prediction may be at the server already: what is NEW for certain answers for them.
    spool.append(UpKind.REPORTS, b"r")
    records = taken(spool)
    assert sorted({seq for record in records for seq in (record.seq, *record.absorbed)}) == list(range(101))
    spool.acknowledge(SpoolAck(spool=spool.id, through=100))
    assert spool.pending == 0


def test_what_cannot_be_decoded_leaves_as_it_is(spool):
    for _ in range(40):
        spool.append(UpKind.TELEMETRY, b"garbage" * 10)
    for _ in range(40):
        spool.append(UpKind.TELEMETRY, encode(window(50)))
    records = taken(spool)
    assert [record.data for record in records].count(b"garbage" * 10) == 40
    assert len(records) < 80


def test_a_window_with_a_damaged_sketch_leaves_as_it_is_and_the_others_merge(spool):
    bad = spool.append(UpKind.TELEMETRY, encode(window(7, sketch=b"damaged")))
    for _ in range(30):
        spool.append(UpKind.TELEMETRY, encode(window(50)))
    records = taken(spool)
    assert len(records) < 31
    assert bad in {record.seq for record in records}
    assert sum(decode(record.data, Window).rows for record in records) == 7 + 30 * 50
