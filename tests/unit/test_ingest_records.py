"""What one spool record may be: a window with a sketch of its own rows, samples that were asked for, nothing else."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from edgeops.digest import digest_raw
from edgeops.errors import MessageError
from edgeops.protocol import messages
from edgeops.protocol.envelope import Envelope, Session
from edgeops.protocol.topics import Up, UpKind
from fleet_server.db import nominations, samples
from fleet_server.link.catalog import Catalog, Expected
from fleet_server.link.entries import NomineesTold, Place, SamplesStored, SetAside, Taken, WindowStored
from fleet_server.link.keyring import Opened, Refusal
from fleet_server.link.mqtt import Delivery
from fleet_server.link.reading import Reading
from fleet_server.link.records import check_sketch, read_sketches, sample_rows
from fleet_server.link.standing import Standing
from fleet_server.link.writing import Writer
from tests.stores import ON_BOTH, database_in
from tests.unit import loop_rows
from tests.unit.loop_rows import DIGEST, enrol
from tests.unit.sketches import CHANNELS, packed
from tests.unit.test_ingest_writing import window as window_row

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SESSION = Session(1, bytes(8))
COLUMNS = 4


@pytest.fixture
def database(tmp_path):
    database = database_in(tmp_path)
    with database.write() as connection:
        for device_id in ("cam-1", "cam-2"):
            enrol(connection, device_id, now=NOW)
    yield database
    database.close()


def ask(database, device_id="cam-1", count=5):
    with database.write() as connection:
        return loop_rows.ask(connection, device_id=device_id, count=count, now=NOW)


def sample(input_id="0", **values):
    fields = {
        "input_id": input_id,
        "age_ms": 1000,
        "values": np.array([1, 2, np.nan, 4], "<f4").tobytes(),
        "answer": 3.0,
        "confidence": 0.9,
        "weight": 7.0,
        "by_chance": False,
    }
    return messages.Sample(**(fields | values))


def answer(nomination, *chosen, **values):
    fields = {
        "deployment": "digits",
        "digest": digest_raw(DIGEST),
        "nomination": nomination.id,
        "pool": 100,
        "last": True,
        "samples": chosen,
    }
    return messages.Samples(**(fields | values))


def window(rows=10, **values):
    fields = {
        "deployment": "digits",
        "digest": digest_raw(DIGEST),
        "phase": messages.Phase.LIVE,
        "rows": rows,
        "source_rows": rows,
        "errors": 0,
        "dropped": 0,
        "duration_ms": 1,
        "latency_p50_us": 1,
        "latency_p95_us": 1,
        "sketch": b"",
    }
    if rows:
        fields["sketch"] = packed(rows)
    return messages.Window(**(fields | values))


def opened(*bodies, device_id="cam-1", kind=UpKind.SAMPLES, first_seq=0):
    records = messages.Records(
        spool=b"s" * 8,
        records=tuple(
            messages.Record(seq=seq, age_ms=500, at_ms=0, data=messages.encode(body))
            for seq, body in enumerate(bodies, first_seq)
        ),
    )
    envelope = Envelope(1, kind, device_id, "key", 0, SESSION, first_seq, messages.encode(records), b"")
    delivery = Delivery(str(Up(device_id, kind)), b"", False, NOW, 1, 1)
    return Opened(delivery, Up(device_id, kind), envelope)


def read(database, *batch):
    """What one batch becomes, after it was written."""
    standing = Standing(database)
    reading = Reading(standing, Catalog(database), is_quarantined=lambda _: False)
    for message in batch:
        reading.take(message)
    reading.finish()
    Writer(database, standing).write(reading.control, reading.telemetry, now=NOW)
    return reading


def details(reading):
    return [entry.row["detail"] for entry in reading.telemetry if isinstance(entry, SetAside)]


def of(reading, kind):
    return [entry for entry in [*reading.control, *reading.telemetry] if isinstance(entry, kind)]


def stored(database, nomination):
    with database.read_telemetry() as connection:
        return samples.of_nominations(connection, [nomination.id])


def known(database, nomination):
    with database.read() as connection:
        return nominations.get(connection, nomination.id)


# -- windows ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (window(sketch=b"\x01nonsense"), "sketch"),
        (window(sketch=packed(10)[:-1]), "ends"),
        (window(rows=11, sketch=packed(10)), "11 rows with a sketch of 10"),
        (window(rows=0, sketch=packed(10)), "0 rows with a sketch of 10"),
        (window(rows=3, errors=6, sketch=packed(10)), "3 rows and 6 errors with a sketch of 10"),
    ],
)
def test_a_window_with_an_impossible_sketch_is_put_aside_alone_and_counts_as_received(database, body, reason):
    reading = read(database, opened(window(), body, window(rows=12), kind=UpKind.TELEMETRY))
    assert [entry.place.seq for entry in of(reading, WindowStored)] == [0, 2]
    assert [entry.place.seq for entry in of(reading, Taken)] == [1]
    (detail,) = details(reading)
    assert detail.startswith("record 1: ")
    assert reason in detail
    assert reading.refusals["cam-1", Refusal.RECORD][0] == 1


def test_a_sketch_may_hold_what_the_model_refused(database):
    body = window(rows=3, errors=7, source_rows=10, sketch=packed(10))
    reading = read(database, opened(body, kind=UpKind.TELEMETRY))
    assert [entry.sketch.rows for entry in of(reading, WindowStored)] == [10]


def test_a_window_of_a_model_that_watches_nothing_needs_no_sketch(database):
    reading = read(database, opened(window(sketch=b""), kind=UpKind.TELEMETRY))
    assert [entry.sketch for entry in of(reading, WindowStored)] == [None]


@pytest.mark.parametrize(("sketch", "channels"), [(packed(10), CHANNELS + 1), (packed(10), 0), (b"", CHANNELS)])
def test_where_the_artifact_is_known_the_channels_must_be_its_own(sketch, channels):
    row = window_row(0) | {"sketch": sketch}
    (found,) = read_sketches([row])
    with pytest.raises(MessageError, match=f"its model watches {channels}"):
        check_sketch(row, found, Expected(channels=channels, readings=4))


def test_an_unknown_artifact_is_no_fault():
    row = window_row(0) | {"sketch": packed(10)}
    (found,) = read_sketches([row])
    check_sketch(row, found, None)


# -- samples ------------------------------------------------------------------------


def test_samples_that_were_asked_for_are_stored_and_the_last_record_says_so(database):
    nomination = ask(database)
    reading = read(
        database,
        opened(answer(nomination, sample("a"), sample("b"), last=False), answer(nomination, sample("c"), part=1)),
    )
    assert details(reading) == []
    assert sorted(one.input_id for one in stored(database, nomination)) == ["a", "b", "c"]
    one = next(one for one in stored(database, nomination) if one.input_id == "a")
    assert (one.device_id, one.deployment, one.digest, one.weight) == ("cam-1", "digits", DIGEST, 7.0)
    assert one.answered_at == NOW - timedelta(milliseconds=1500)
    assert (known(database, nomination).samples, known(database, nomination).answered_at) == (3, NOW)


def test_a_record_that_comes_again_is_the_same_samples(database):
    nomination = ask(database)
    message = opened(answer(nomination, sample("a"), sample("b")))
    read(database, message, message)
    before = stored(database, nomination)
    with database.write_telemetry() as connection:
        connection.exec_driver_sql("DELETE FROM spools")  # as if the link had died before it committed the ledger
    assert details(read(database, message)) == []
    assert stored(database, nomination) == before
    assert known(database, nomination).samples == 2


def test_nobody_may_answer_a_nomination_of_another_device_or_none_at_all(database):
    nomination = ask(database)
    unasked = msgspec.structs.replace(answer(nomination, sample()), nomination="nominate-nobody")
    reading = read(
        database, opened(answer(nomination, sample()), device_id="cam-2"), opened(unasked), opened(unasked, first_seq=1)
    )
    assert len(details(reading)) == 3
    assert all("was not asked for" in detail for detail in details(reading))
    assert of(reading, SamplesStored) == of(reading, NomineesTold) == []
    assert len(of(reading, Taken)) == 3
    assert known(database, nomination).answered_at is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"digest": bytes(32)}, "asked for others"),
        ({"deployment": "other"}, "asked for others"),
        ({"part": 6}, "part 6"),
    ],
)
def test_an_answer_to_another_question_is_put_aside(database, values, reason):
    nomination = ask(database)
    reading = read(database, opened(answer(nomination, sample("bad"), **values), answer(nomination, sample("good"))))
    assert reason in details(reading)[0]
    assert [one.input_id for one in stored(database, nomination)] == ["good"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"values": b""}, "readings"),
        ({"values": bytes(15)}, "readings"),
        ({"values": np.array([1, 2, np.inf, 4], "<f4").tobytes()}, "readings"),
        ({"answer": float("nan")}, "not finite"),
        ({"confidence": float("inf")}, "not finite"),
    ],
)
def test_a_sample_that_cannot_be_one_is_put_aside_with_its_record_alone(database, values, reason):
    nomination = ask(database)
    bad = answer(nomination, sample("fine"), sample("bad", **values), last=False)
    reading = read(database, opened(bad, answer(nomination, sample("good"), last=False, part=1)))
    (detail,) = details(reading)
    assert reason in detail
    assert "'bad'" in detail
    assert [one.input_id for one in stored(database, nomination)] == ["good"]


def test_a_device_that_sends_more_than_it_was_asked_for_does_not_fill_the_disk(database):
    nomination = ask(database, count=3)
    part = answer(nomination, sample("a"), sample("b"), last=False)
    for turn in range(3):
        reading = read(database, opened(part, part, part, first_seq=10 * turn))
    assert all("asked for" in detail for detail in details(reading))
    assert len(stored(database, nomination)) == 2


@pytest.mark.parametrize(("values", "fits"), [({}, True), ({"values": bytes(8)}, False)])
def test_samples_of_a_known_artifact_have_its_size(database, values, fits):
    nomination = ask(database)
    expected = Expected(channels=0, readings=COLUMNS)
    place, record = Place("cam-1", b"s" * 8, 0), messages.Record(seq=0, age_ms=0, at_ms=0, data=b"")
    body = answer(nomination, sample(**values))
    with nullcontext() if fits else pytest.raises(MessageError, match="its model takes 4"):
        sample_rows(place, record, body, asked=nomination, expected=expected, received_at=NOW)
