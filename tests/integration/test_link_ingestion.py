"""What devices say arrives once, whole and verified, whatever else arrives or dies."""

import secrets
import signal
from datetime import UTC, datetime

import msgspec
import pytest

from edgeops.digest import digest_bytes, digest_raw
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import DownKind, UpKind
from tests.integration.link_rig import eventually, linked_rig, predictions, record, reported, window
from tests.unit.loop_rows import ask
from tests.unit.sketches import packed

pytestmark = [pytest.mark.slow, pytest.mark.processes]


@pytest.fixture
def rig(tmp_path):
    with linked_rig(tmp_path) as rig:
        yield rig


def quarantined(rig, reason):
    return eventually(
        lambda: rig.rows(f"SELECT device_id, topic, detail FROM quarantine WHERE reason = '{reason}'"),
        what=f"a message in quarantine because of {reason}",
    )


def test_windows_are_committed_then_acknowledged(rig):
    device = rig.device()
    device.send_windows(0, 1, 2)
    eventually(lambda: device.acked_through() == 2, what="the ack of three records")
    assert rig.rows("SELECT seq, rows FROM windows ORDER BY seq") == [(0, 500), (1, 500), (2, 500)]


def test_a_repeated_envelope_is_counted_and_acknowledged_again(rig):
    device = rig.device()
    payload = device.sealed(UpKind.TELEMETRY, device.records((0, messages.encode(window()))))
    device.publish(UpKind.TELEMETRY, payload)
    eventually(lambda: len(device.told(DownKind.ACK, messages.Ack)) == 1, what="the first ack")
    device.publish(UpKind.TELEMETRY, payload)
    eventually(lambda: len(device.told(DownKind.ACK, messages.Ack)) == 2, what="the ack repeated")
    assert rig.rows("SELECT count(*) FROM windows") == [(1,)]
    assert rig.rows("SELECT kind, repeated FROM marks") == [("telemetry", 1)]
    assert rig.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_wrong_signature_is_put_aside_and_never_blocks(rig):
    device = rig.device()
    device.send_windows(0, key=SigningKey.generate())
    forged = device.sealed(UpKind.TELEMETRY, device.records((1, messages.encode(window()))))
    device.publish(UpKind.TELEMETRY, forged[:-1] + bytes([forged[-1] ^ 1]))
    device.send_windows(2)
    assert len(eventually(lambda: rig.rows("SELECT seq FROM windows"), what="the good window")) == 1
    for reason in ("unknown-key", "signature"):
        assert [row.device_id for row in quarantined(rig, reason)] == [device.id]
    kinds = rig.control_rows("SELECT kind, subject FROM events WHERE kind = 'message.quarantined'")
    assert kinds == [("message.quarantined", device.id)] * 2


def test_a_message_signed_for_another_topic_is_refused(rig):
    device = rig.device()
    device.publish(UpKind.REPORTS, device.sealed(UpKind.TELEMETRY, device.records((0, messages.encode(window())))))
    assert "telemetry" in quarantined(rig, "wrong-kind")[0].detail


def test_what_cannot_be_parsed_is_put_aside(rig):
    device = rig.device()
    device.publish(UpKind.TELEMETRY, b"\xff\x00 not an envelope")
    device.publish(UpKind.TELEMETRY, b"")
    device.send(UpKind.TELEMETRY, b"\x93not records")
    device.send_windows(0)
    assert eventually(lambda: device.acked_through() == 0, what="the ack of the good record")
    assert len(quarantined(rig, "unparsable")) == 2
    assert len(quarantined(rig, "body")) == 1


def test_a_device_that_is_not_enrolled_is_put_aside(rig):
    stranger = rig.device("stranger", enrolled=False)
    stranger.send_windows(0)
    assert quarantined(rig, "unknown-device")[0].device_id == stranger.id
    assert rig.rows("SELECT count(*) FROM windows") == [(0,)]


def test_a_device_enrolled_a_moment_ago_is_believed_at_once(rig):
    first = rig.device()
    first.send_windows(0)
    eventually(lambda: first.acked_through() == 0, what="the link is warm")
    second = rig.device("younger")
    second.send_windows(0)
    eventually(lambda: second.acked_through() == 0, what="the ack for the new device")
    assert rig.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_poisonous_record_is_put_aside_alone_and_counts_as_received(rig):
    device = rig.device()
    good = messages.encode(window())
    device.send(UpKind.TELEMETRY, device.records((0, good), (1, b"\xc1 poison"), (2, good)))
    eventually(lambda: device.acked_through() == 2, what="the ack of all three records")
    assert rig.rows("SELECT seq FROM windows ORDER BY seq") == [(0,), (2,)]
    assert "record 1" in quarantined(rig, "record")[0].detail


def test_an_answer_that_is_no_number_is_put_aside_with_its_record(rig):
    device = rig.device()
    body = device.records(
        (0, messages.encode(predictions(("7", float("nan"))))), (1, messages.encode(predictions(("8", 3.0))))
    )
    device.send(UpKind.PREDICTIONS, body)
    eventually(lambda: device.acked_through() == 1, what="the ack of both records")
    assert rig.rows("SELECT input_id, answer FROM predictions") == [("8", 3.0)]
    assert "record 0" in quarantined(rig, "record")[0].detail


def test_a_row_the_database_refuses_holds_up_no_other(rig):
    with rig.database.write_telemetry() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON windows WHEN new.rows = 13 "
            "BEGIN SELECT RAISE(ABORT, 'thirteen'); END"
        )
    device = rig.device()
    entries = [(seq, messages.encode(window(rows=13 if seq == 5 else 500))) for seq in range(12)]
    device.send(UpKind.TELEMETRY, device.records(*entries))
    eventually(lambda: device.acked_through() == 11, what="the ack of all twelve records")
    assert rig.rows("SELECT count(*), max(rows) FROM windows") == [(11, 500)]
    assert "thirteen" in quarantined(rig, "not-storable")[0].detail


def test_records_that_were_merged_count_as_received(rig):
    device = rig.device()
    merged = record(3, messages.encode(window(rows=1500)), absorbed=(1, 2))
    device.send(UpKind.TELEMETRY, messages.Records(spool=device.spool, records=(merged,)))
    eventually(lambda: device.told(DownKind.ACK, messages.Ack), what="an ack")
    device.send_windows(0)
    eventually(lambda: device.acked_through() == 3, what="the ack through the merged record")


def test_the_latest_answer_to_an_input_stays(rig):
    device = rig.device()
    for seq, answer in enumerate((1.0, 2.0)):
        device.send(UpKind.PREDICTIONS, device.records((seq, messages.encode(predictions(("7", answer), ("8", 5.0))))))
    eventually(lambda: device.acked_through() == 1, what="the ack")
    assert rig.rows("SELECT input_id, answer FROM predictions ORDER BY input_id") == [("7", 2.0), ("8", 5.0)]


def test_an_older_session_is_refused_but_its_last_will_is_no_alarm(rig):
    device = rig.device()
    old = device.session
    device.restart()
    device.send(UpKind.STATUS, messages.Status(presence=messages.Presence.ONLINE, agent_version="1"))
    eventually(lambda: rig.control_rows("SELECT 1 FROM devices WHERE presence = 'online'"), what="the birth")
    device.send(UpKind.STATUS, messages.Status(presence=messages.Presence.OFFLINE), session=old, seq=9)
    device.send_windows(0, session=old, seq=10)
    assert [row.device_id for row in quarantined(rig, "old-session")] == [device.id]
    assert rig.control_rows("SELECT presence, session_counter FROM devices") == [("online", 2)]


def test_two_speakers_in_one_session_quarantine_the_device_once(rig):
    device = rig.device()
    device.send_windows(0)
    eventually(lambda: device.acked_through() == 0, what="the ack")
    for seq in range(3):
        clone = Session(device.session.counter, secrets.token_bytes(8))
        device.send_windows(seq + 1, session=clone, seq=seq)
    eventually(lambda: rig.control_rows("SELECT 1 FROM devices WHERE quarantined"), what="the device in quarantine")
    device.send_windows(9)
    other = rig.device("other")
    other.send_windows(0)
    eventually(lambda: other.acked_through() == 0, what="the ack of another device")
    assert rig.rows(f"SELECT count(*) FROM windows WHERE device_id = '{device.id}'") == [(1,)]
    events = rig.control_rows("SELECT kind FROM events WHERE kind LIKE '%quarantined'")
    assert events == [("device.quarantined",)]


def test_a_report_becomes_an_event_before_it_is_acknowledged(rig):
    device = rig.device()
    report = messages.Report(
        installation="inst-1",
        deployment="digits",
        digest=digest_raw(digest_bytes(b"model")),
        state=messages.UpdateState.COMMITTED,
        evidence=messages.Evidence(inferences=20, errors=0),
    )
    device.send(UpKind.REPORTS, device.records((0, messages.encode(report))))
    eventually(lambda: device.acked_through() == 0, what="the ack")
    from fleet_server.db import events

    with rig.database.read() as connection:
        (event,) = events.after(connection, 0, ["report.received"])
    assert event.subject == device.id
    assert event.data["installation"] == "inst-1"
    assert event.data["state"] == "committed"
    assert event.data["digest"] == digest_bytes(b"model")
    assert event.data["evidence"]["inferences"] == 20


def test_a_last_will_of_the_current_session_means_offline(rig):
    device = rig.device()
    device.send(UpKind.STATUS, messages.Status(presence=messages.Presence.ONLINE))
    device.send(UpKind.REPORTED, reported())
    device.send(UpKind.STATUS, messages.Status(presence=messages.Presence.OFFLINE))
    eventually(
        lambda: rig.control_rows("SELECT 1 FROM devices WHERE presence = 'offline' AND reported IS NOT NULL"),
        what="the device offline",
    )
    kinds = [row.kind for row in rig.control_rows("SELECT kind FROM events ORDER BY id")]
    assert kinds == ["device.enrolled", "device.status", "device.reported", "device.status"]


def test_killing_the_link_in_mid_ingestion_loses_nothing(rig):
    device = rig.device()
    messages_sent, each = 240, 5
    infos = []
    for number in range(messages_sent):
        entries = [(number * each + place, messages.encode(window())) for place in range(each)]
        payload = device.sealed(UpKind.TELEMETRY, device.records(*entries))
        infos.append(device.publish_soon(UpKind.TELEMETRY, payload))
        if number in (60, 150):
            eventually(lambda: rig.rows("SELECT 1 FROM windows LIMIT 1"), what="the first windows")
            rig.end_link(signal.SIGKILL)
            rig.start_link()
    for info in infos:
        info.wait_for_publish(30)
    total = messages_sent * each
    eventually(lambda: device.acked_through() == total - 1, what="the ack of every record")
    assert rig.rows("SELECT count(*), sum(rows), count(DISTINCT seq) FROM windows") == [(total, total * 500, total)]
    assert rig.rows("SELECT through, ranges FROM spools") == [(total - 1, b"[]")]
    assert rig.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_second_link_on_the_same_data_is_refused(rig):
    device = rig.device()
    device.send_windows(0)
    eventually(lambda: device.acked_through() == 0, what="the first link works")
    first = rig.link
    rig.start_link()
    assert rig.link.wait(30) != 0
    assert first.poll() is None
    rig.link = first


def test_a_locked_database_delays_and_loses_nothing(rig):
    device = rig.device()
    device.send_windows(0)
    eventually(lambda: device.acked_through() == 0, what="the link is warm")
    with rig.database.write_telemetry():
        device.send_windows(1)
        device.send_windows(2)
    eventually(lambda: device.acked_through() == 2, what="the ack after the lock")


def test_a_text_that_is_not_utf_8_is_put_aside_and_ends_nothing(rig):
    device = rig.device()
    # An array of nine whose second field, the kind, is the one byte 0xff.
    for kind in (UpKind.STATUS, UpKind.FETCH):
        device.publish(kind, b"\x99\x01\xa1\xff")
    device.send(UpKind.RESPONSE, b"\x93\xa1\xff\xc3\xa0")
    device.send_windows(0)
    eventually(lambda: device.acked_through() == 0, what="the ack of the good record")
    eventually(lambda: len(quarantined(rig, "unparsable")) == 2, what="both messages in quarantine")
    assert len(quarantined(rig, "body")) == 1
    assert rig.link.poll() is None


def test_a_message_without_delivery_promise_does_not_cost_the_link_its_connection(rig):
    device = rig.device()
    device.publish_soon(UpKind.STATUS, b"junk", qos=0)
    device.publish_soon(UpKind.FETCH, b"junk", qos=0)
    device.send_windows(0)
    eventually(lambda: device.acked_through() == 0, what="the ack of the good record")
    assert rig.connections() == 1


def test_a_device_that_reports_is_online_though_it_was_given_up(rig):
    device = rig.device()
    device.send(UpKind.STATUS, messages.Status(presence=messages.Presence.ONLINE))
    eventually(lambda: rig.control_rows("SELECT 1 FROM devices WHERE presence = 'online'"), what="the birth")
    with rig.database.write() as connection:
        connection.exec_driver_sql("UPDATE devices SET presence = 'offline'")
    device.send(UpKind.REPORTED, reported())
    eventually(lambda: rig.control_rows("SELECT 1 FROM devices WHERE presence = 'online'"), what="a sign of life")


def test_nominated_samples_arrive_once_in_any_order_and_one_event_says_that_all_are_there(rig):
    device = rig.device()
    with rig.database.write() as connection:
        nomination = ask(connection, device_id=device.id, count=4, now=datetime.now(UTC))

    def part(number, *input_ids, last=False):
        return messages.encode(
            messages.Samples(
                deployment="digits",
                digest=digest_raw(digest_bytes(b"model")),
                nomination=nomination.id,
                pool=9,
                last=last,
                part=number,
                samples=tuple(
                    messages.Sample(
                        input_id=input_id,
                        age_ms=0,
                        values=bytes(16),
                        answer=1.0,
                        confidence=0.5,
                        weight=3.0,
                        by_chance=False,
                    )
                    for input_id in input_ids
                ),
            )
        )

    last, first, greedy = part(1, "c", last=True), part(0, "a", "b"), part(2, "d", "e")
    device.send(UpKind.SAMPLES, device.records((1, last)))
    eventually(lambda: rig.rows("SELECT 1 FROM samples"), what="the last record")
    assert rig.control_rows("SELECT 1 FROM events WHERE kind = 'nomination.answered'") == []
    rig.end_link(signal.SIGKILL)
    rig.start_link()
    for _ in range(2):
        device.send(UpKind.SAMPLES, device.records((1, last), (0, first), (2, greedy)))
    eventually(lambda: device.acked_through() == 2, what="the ack of all records")
    assert rig.rows("SELECT input_id FROM samples ORDER BY input_id") == [("a",), ("b",), ("c",)]
    (event,) = rig.control_rows("SELECT subject, data FROM events WHERE kind = 'nomination.answered'")
    assert event.subject == device.id
    assert msgspec.json.decode(event.data) == {"asker": "retrain-1", "nomination": nomination.id, "samples": 3}
    assert "more samples" in quarantined(rig, "record")[0].detail


def test_a_window_with_a_damaged_sketch_is_put_aside_and_the_hour_knows_only_the_others(rig):
    device = rig.device()
    entries = [window(10, sketch=packed(10)), window(10, sketch=packed(10)[:-1]), window(11, sketch=packed(10))]
    device.send(UpKind.TELEMETRY, device.records(*enumerate(messages.encode(one) for one in entries)))
    eventually(lambda: device.acked_through() == 2, what="the ack of all three records")
    assert rig.rows("SELECT seq FROM windows") == [(0,)]
    assert rig.rows("SELECT windows, rows, unsketched, sketch FROM rollups") == [(1, 10, 0, packed(10))]
    assert len(quarantined(rig, "record")) == 2
