"""One device turns against the fleet: with its own key and account it changes nothing of the others, and is seen."""

import secrets
import statistics
import time
from contextlib import contextmanager, suppress

import msgspec
import pytest

from edgeops import limits
from edgeops.digest import digest_bytes, digest_raw
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.topics import DownKind, UpKind, client_id
from tests.integration.hostile_rig import Flood, RawClient, ack_latencies, events_of, own_topics, retained, standing
from tests.integration.link_rig import Rig, eventually, predictions, record, reported, window
from tests.unit.sketches import packed

pytestmark = pytest.mark.slow

#: So many that all of one batch are kept in quarantine.
GROUP = 12
ONLINE = messages.Status(presence=messages.Presence.ONLINE, agent_version="1")


@pytest.fixture(scope="module", params=["mosquitto", pytest.param("embedded", marks=pytest.mark.long)])
def rig(request, tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp("hostile"), embedded=request.param == "embedded")
    try:
        rig.start_broker()
        rig.start_linked()
        yield rig
        assert rig.link.poll() is None
        assert "Traceback" not in rig.link_log()
    finally:
        rig.close()


@pytest.fixture
def attacker(rig):
    return rig.device("attacker")


@pytest.fixture
def victim(rig):
    """A device in the middle of its work."""
    victim = rig.device("victim")
    victim.send(UpKind.STATUS, ONLINE)
    victim.send(UpKind.REPORTED, reported())
    victim.send_windows(0, 1)
    victim.send(UpKind.PREDICTIONS, victim.records((2, messages.encode(predictions(("7", 1.0))))))
    eventually(lambda: victim.acked_through() == 2, what="the victim's acks")
    eventually(
        lambda: rig.control_rows(f"SELECT 1 FROM devices WHERE id = '{victim.id}' AND reported IS NOT NULL"), what="x"
    )
    eventually(lambda: victim.told(DownKind.CREDIT, messages.Credit), what="the victim's credit")
    return victim


@contextmanager
def nothing_changes(rig, attacker, victim):
    """What the attacker does inside leaves the victim as it was, and the victim is served right after it."""
    before = standing(rig, victim)
    yield
    # Once the attacker's own last word was taken in, so was everything that it said before.
    served(attacker)
    assert standing(rig, victim) == before
    served(victim)
    assert rig.link.poll() is None


def served(device):
    """One more record of the device is acknowledged, on whatever connection it has now."""
    eventually(lambda: device.is_connected, what=f"{device.id} is connected")
    device.subscribe(f"edgeops/v1/down/{device.id}/+")
    seq = getattr(device, "next_seq", 100)
    device.next_seq = seq + 1
    device.send_windows(seq)
    spools = lambda: [one for ack in device.told(DownKind.ACK, messages.Ack) for one in ack.spools]  # noqa: E731
    eventually(
        lambda: (
            any(first <= seq <= last for one in spools() for first, last in one.ranges) or device.acked_through() >= seq
        ),
        what=f"the ack of {device.id}",
    )


def raw(rig, attacker, **options):
    client = RawClient(rig, user=attacker.id, password=attacker.password, **options)
    assert not client.is_refused()
    return client


def put_aside(rig, device, *, since=0):
    return rig.rows(
        f"SELECT id, reason, detail, topic FROM quarantine WHERE device_id = '{device.id}' AND id > {since} ORDER BY id"
    )


# -- topics ---------------------------------------------------------------------------


def test_a_device_writes_to_no_topic_but_its_own(rig, attacker, victim):
    blob = f"edgeops/v1/blob/{'a' * 64}/0"
    foreign = [
        *own_topics(victim),
        *(f"edgeops/v1/down/{device.id}/{kind}" for device in (victim, attacker) for kind in DownKind),
        blob,
        blob.rpartition("/")[0],
        "edgeops/v1/up/edgeops-server/status",
        f"edgeops/v1/up/{attacker.id}/status/more",
        f"edgeops/v1/up/{attacker.id}",
        f"edgeops/v1/up/{attacker.id}/unheard-of",
        f"edgeops/v1/up/{attacker.id}/../{victim.id}/status",
        f"edgeops/v1/up//{attacker.id}/status",
        "edgeops/v1/up",
        "edgeops/v2/up/x/status",
        "$SYS/broker/version",
        "$CONTROL/dynamic-security/v1",
        "edgeops/v1/" + "x" * 65_000,
        # What ends the connection at once: wildcards, shared groups, bytes that are no text.
        "edgeops/v1/up/+/status",
        "#",
        f"$share/g/edgeops/v1/up/{victim.id}/status",
        b"edgeops/v1/up/\xff/status",
        b"edgeops/v1/up/\x00/status",
        "/".join("a" * 400),
    ]
    kept = retained(rig)
    with nothing_changes(rig, attacker, victim):
        for topic in foreign:
            client = raw(rig, attacker)
            client.publish(topic)
            client.answer()
            client.drop()
    after = retained(rig)
    assert {topic: kept[topic] for topic in kept if victim.id in topic} == {
        topic: after[topic] for topic in after if victim.id in topic
    }
    assert all(topic in own_topics(attacker) for topic in after.keys() - kept.keys())
    eventually(lambda: events_of(rig, "connection.refused", attacker.id), what="the event that tells")


def test_a_device_hears_nothing_that_is_not_its_own(rig, attacker, victim):
    for topic_filter in (
        "#",
        "+/+/+/+/+",
        "$SYS/#",
        "edgeops/v1/up/#",
        "edgeops/v1/down/#",
        f"edgeops/v1/down/{victim.id}/ack",
        "edgeops/v1/down/+/desired",
        "$share/g/edgeops/v1/up/+/+",
        f"$share/g/edgeops/v1/down/{victim.id}/+",
        "edgeops/v1/blob/#",
    ):
        attacker.subscribe(topic_filter)
    with nothing_changes(rig, attacker, victim):
        # What is retained comes to whoever connects; amqtt would send everybody everything.
        attacker.disconnect()
        attacker.connect()
    # The victim was served again meanwhile: its records went up, its ack came down, and it alone heard it.
    assert {topic.split("/")[3] for topic in attacker.heard} == {attacker.id}
    told = eventually(lambda: events_of(rig, "connection.refused", attacker.id), what="the event that tells")
    assert msgspec.json.decode(told[0].data)["attempt"] == "foreign-topic"


def test_a_will_on_a_foreign_topic_is_never_said(rig, attacker, victim):
    offline = victim.sealed(UpKind.STATUS, messages.Status(presence=messages.Presence.OFFLINE), seq=0)
    with nothing_changes(rig, attacker, victim):
        for topic in (f"edgeops/v1/up/{victim.id}/status", f"edgeops/v1/down/{victim.id}/desired", "#"):
            client = RawClient(rig, user=attacker.id, password=attacker.password, will=(topic, offline))
            client.answer()
            client.drop()
    assert rig.control_rows(f"SELECT presence FROM devices WHERE id = '{victim.id}'") == [("online",)]


# -- envelopes ------------------------------------------------------------------------


def test_what_another_device_said_is_not_believed_from_this_one(rig, attacker, victim):
    recorded = victim.sealed(UpKind.TELEMETRY, victim.records((50, messages.encode(window()))))
    speaker = Speaker(victim.id, attacker.key, 0, attacker.session)
    in_its_name = seal(speaker, UpKind.TELEMETRY, seq=9, body=messages.encode(attacker.records((0, b""))))
    last = Speaker(victim.id, attacker.key, 0, Session(10**6, bytes(8)))
    in_a_later_session = seal(last, UpKind.STATUS, seq=1, body=messages.encode(ONLINE))
    with nothing_changes(rig, attacker, victim):
        attacker.publish(UpKind.TELEMETRY, recorded)
        attacker.publish(UpKind.TELEMETRY, in_its_name)
        attacker.publish(UpKind.STATUS, in_a_later_session)
    assert [row.reason for row in put_aside(rig, attacker)] == ["wrong-device"] * 3
    assert all(victim.id in row.detail for row in put_aside(rig, attacker))
    (event,) = events_of(rig, "message.quarantined", attacker.id)
    assert msgspec.json.decode(event.data)["reason"] == "wrong-device"


def test_an_older_session_of_its_own_is_refused_and_seen(rig, attacker, victim):
    old = attacker.session
    recorded = attacker.sealed(UpKind.TELEMETRY, attacker.records((0, messages.encode(window()))))
    attacker.publish(UpKind.TELEMETRY, recorded)
    served(attacker)
    attacker.restart()
    served(attacker)
    with nothing_changes(rig, attacker, victim):
        attacker.publish(UpKind.TELEMETRY, recorded)
        attacker.send_windows(1, session=Session(0, old.nonce), seq=10**9)
    assert [row.reason for row in put_aside(rig, attacker)] == ["old-session"] * 2


def test_reports_about_the_installations_and_samples_of_others_change_nothing(rig, attacker, victim):
    digest = digest_raw(digest_bytes(b"model"))
    report = messages.Report(
        installation="inst-of-another", deployment="digits", digest=digest, state=messages.UpdateState.COMMITTED
    )
    nominees = messages.Samples(deployment="digits", digest=digest, nomination="nom-of-another", pool=1, last=True)
    with nothing_changes(rig, attacker, victim):
        attacker.send(UpKind.REPORTS, attacker.records((0, messages.encode(report))))
        attacker.send(UpKind.SAMPLES, attacker.records((1, messages.encode(nominees))))
    assert [row.reason for row in put_aside(rig, attacker)] == ["record"]


# -- poison ---------------------------------------------------------------------------


def _record_poison():
    """Records that must not be believed, by kind: bytes, values, sketches and names that are none."""
    good = messages.encode(window(10, sketch=packed(10)))
    raw_window = msgspec.msgpack.decode(good)

    def with_field(place, value):
        fields = list(raw_window)
        fields[place] = value
        return msgspec.msgpack.encode(fields)

    broken_sketch = packed(10)
    window_poison = [
        b"",
        b"\xc1",
        good[:-5],
        b"\x91" * 10_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        msgspec.msgpack.encode({"rows": 1}),
        msgspec.msgpack.encode([[]] * 13),
        with_field(0, "../../etc/passwd"),
        with_field(0, "a\x00b"),
        with_field(0, "x" * 10_000),
        with_field(1, b"short"),
        with_field(2, "neither"),
        with_field(3, -1),
        with_field(3, 2**63),
        with_field(3, 2**53),
        with_field(3, float("nan")),
        with_field(4, 1.5),
        with_field(7, 2**64 - 1),
        with_field(10, b"\x01"),
        with_field(10, b"\x01" + b"\xff" * 200),
        # A sketch that says to hold 2^28 rows, which fits its window of 2^28 rows and is cut off.
        msgspec.msgpack.encode([*raw_window[:3], 2**28, *raw_window[4:10], b"\x01\x01" + b"\x80\x80\x80\x80\x01"]),
        with_field(10, broken_sketch[:-1]),
        with_field(10, broken_sketch + b"\x00"),
        with_field(10, bytes([2]) + broken_sketch[1:]),
        with_field(10, broken_sketch[:1] + bytes([64]) + broken_sketch[2:]),
        with_field(3, 11),
    ]
    digest = digest_raw(digest_bytes(b"model"))
    nan, infinite = float("nan"), float("inf")
    answers = [messages.encode(predictions(("7", value))) for value in (nan, infinite, -infinite)]
    prediction_poison = [
        *answers,
        msgspec.msgpack.encode(["digits", digest, "live", []]),
        msgspec.msgpack.encode(["digits", digest, "live", [["7", 0, 1.0, 0.5]] * 201]),
        msgspec.msgpack.encode(["digits", digest, "live", [["x" * 65, 0, 1.0, 0.5]]]),
        msgspec.msgpack.encode(["digits", digest, "live", [["7", -1, 1.0, 0.5]]]),
        msgspec.msgpack.encode(["digits", digest, "live", [["7", 0, "1", 0.5]]]),
        b"\x94\xa3\xff\xfe\xfd\xc0\xc0\xc0",
    ]
    report_poison = [
        msgspec.msgpack.encode(["inst-1", "digits", digest, "no-such-state"]),
        msgspec.msgpack.encode(["inst-1", "digits", digest, "committed", "none", "x" * 501]),
        msgspec.msgpack.encode(["inst-1", "digits", digest, "committed", "none", "", [-1, 0]]),
        msgspec.msgpack.encode(["'; DROP TABLE devices; --", "digits", digest, "committed"]),
    ]
    return [
        *((UpKind.TELEMETRY, data) for data in window_poison),
        *((UpKind.PREDICTIONS, data) for data in prediction_poison),
        *((UpKind.REPORTS, data) for data in report_poison),
        *((UpKind.SAMPLES, data) for data in (b"", b"\x91" * 5_000, msgspec.msgpack.encode([1, 2, 3]))),
    ]


def test_one_poisonous_record_among_sixteen_is_put_aside_alone(rig, attacker, victim):
    good = {
        UpKind.TELEMETRY: messages.encode(window()),
        UpKind.PREDICTIONS: messages.encode(predictions(("1", 1.0))),
        UpKind.REPORTS: messages.encode(
            messages.Report(
                installation="inst-1",
                deployment="digits",
                digest=digest_raw(digest_bytes(b"model")),
                state=messages.UpdateState.TRIAL,
            )
        ),
    }
    poison = _record_poison()
    with nothing_changes(rig, attacker, victim):
        seq = 0
        for number, (kind, data) in enumerate(poison):
            others = [good.get(kind, b"\xc0")] * (limits.MAX_RECORDS_PER_MESSAGE - 1 if kind in good else 0)
            place = number % (len(others) + 1)
            entries = [*others[:place], data, *others[place:]]
            attacker.send(kind, attacker.records(*enumerate(entries, seq)))
            seq += len(entries)
            attacker.next_seq = seq
            if number % GROUP == GROUP - 1:
                eventually(lambda: attacker.acked_through() == attacker.next_seq - 1, what=f"acks at {data[:40]!r}")
        eventually(lambda: attacker.acked_through() == seq - 1, what="the acks of all records, poisonous or not")
    rows = put_aside(rig, attacker)
    assert [row.reason for row in rows] == ["record"] * len(poison)
    windows = sum(kind is UpKind.TELEMETRY for kind, _ in poison) * 15 + 1  # and the last word of `nothing_changes`
    assert rig.rows(f"SELECT count(*) FROM windows WHERE device_id = '{attacker.id}'") == [(windows,)]


def test_bodies_and_envelopes_that_are_none_are_put_aside_and_block_nothing(rig, attacker, victim):
    body = messages.encode(attacker.records((0, messages.encode(window()))))
    envelopes = [
        b"",
        b"\xc1",
        b"\x91" * 60_000,
        b"\x99" * 60_000,
        b"\xdd\xff\xff\xff\xff" + bytes(1_000),
        b"\xc6\xff\xff\xff\xff" + bytes(1_000),
        secrets.token_bytes(limits.MAX_MESSAGE_BYTES),
        bytes(limits.MAX_MESSAGE_BYTES + 1),
        msgspec.msgpack.encode([1, "telemetry", attacker.id, "k", -1, [1, bytes(8)], 1, b"", bytes(64)]),
        msgspec.msgpack.encode([1, "telemetry", attacker.id, "k", 0, [2**64 - 1, bytes(8)], 1, b"", bytes(64)]),
        msgspec.msgpack.encode([1, "telemetry", attacker.id, "k", 0, [1, bytes(9)], 1, b"", bytes(64)]),
        msgspec.msgpack.encode([float("nan")] * 9),
        msgspec.msgpack.encode({"v": 1}),
        b"\x99\x01\xa1\xff",
        attacker.sealed(UpKind.TELEMETRY, body)[:-1],
        attacker.sealed(UpKind.TELEMETRY, body) + b"\x00",
    ]
    signed_bodies = [b"", b"\xc1", b"\x91" * 30_000, b"\xdd\xff\xff\xff\xff", msgspec.msgpack.encode(None)]
    too_many = msgspec.msgpack.encode([attacker.spool, [[seq, 0, 0, b"x"] for seq in range(17)]])
    encode = msgspec.msgpack.encode
    sayings = [
        *((kind, payload) for kind in (UpKind.TELEMETRY, UpKind.FETCH) for payload in envelopes),
        *((kind, attacker.sealed(kind, payload)) for kind in UpKind for payload in signed_bodies),
        (UpKind.TELEMETRY, attacker.sealed(UpKind.TELEMETRY, too_many)),
        (UpKind.STATUS, attacker.sealed(UpKind.STATUS, encode(["asleep", "1"]))),
        (UpKind.FETCH, attacker.sealed(UpKind.FETCH, encode(["blocks", "sha256:" + "0" * 64, 2**60, b"\xff" * 8]))),
        (UpKind.FETCH, attacker.sealed(UpKind.FETCH, encode(["blocks", "../../../etc/passwd", 0, b"\xff"]))),
    ]
    with nothing_changes(rig, attacker, victim):
        for number, (kind, payload) in enumerate(sayings, 1):
            attacker.publish(kind, payload)
            if number % GROUP == 0 or number == len(sayings):
                eventually(lambda: len(put_aside(rig, attacker)) == number, what=f"{number} in quarantine")  # noqa: B023
    assert {row.reason for row in put_aside(rig, attacker)} == {"unparsable", "body"}


def test_values_that_are_right_and_absurd_stay_with_the_one_who_said_them(rig, attacker, victim):
    far = 2**53
    absurd = messages.Reported(
        desired_epoch=far,
        desired_revision=far,
        facts=messages.DeviceFacts(
            arch="\x1b[31m",
            runtime="x" * 100,
            runtime_version="../..",
            python="%s%n",
            memory_bytes=far,
            disk_free_bytes=0,
        ),
        deployments=(
            messages.DeploymentState(
                deployment="digits",
                state=messages.UpdateState.TRIAL,
                active="sha256:" + "f" * 64,
                installation="inst-of-another",
            ),
        ),
        counters={f"{number}\n\x1b]0;owned\x07": far for number in range(limits.MAX_COUNTERS)},
    )
    clocks = [(-(2**63), 2**63), (2**63, -1), (far, far), (-1, 0), (0, 2**64 - 1)]
    with nothing_changes(rig, attacker, victim):
        attacker.send(UpKind.REPORTED, absurd)
        records = tuple(
            messages.Record(seq=seq, age_ms=age_ms, at_ms=at_ms, data=messages.encode(window()))
            for seq, (age_ms, at_ms) in enumerate(clocks)
        )
        attacker.send(UpKind.TELEMETRY, messages.Records(spool=attacker.spool, records=records))
        attacker.send(UpKind.TELEMETRY, attacker.records((far, messages.encode(window()))))
        absorbs = record(90, messages.encode(window()), absorbed=tuple(range(200, 6_200, 2)))
        attacker.send(UpKind.TELEMETRY, messages.Records(spool=attacker.spool, records=(absorbs,)))
        for number in range(50):  # as many spools, deployments and models as it likes
            spool = messages.Records(
                spool=secrets.token_bytes(8),
                records=(
                    record(0, messages.encode(window(deployment=f"made-up-{number}", digest=secrets.token_bytes(32)))),
                ),
            )
            attacker.send(UpKind.TELEMETRY, spool)
        for path in (
            "../../../etc/passwd",
            "metadata/../../keys/root.pem",
            "targets/" + "a/" * 140,
            "blocklists/" + "0" * 64,
        ):
            attacker.send(UpKind.FETCH, messages.MetaWish(request=1, path=path, offset=far))
        eventually(lambda: len(attacker.heard[f"edgeops/v1/down/{attacker.id}/meta"]) == 4, what="four answers")
    answers = attacker.heard[f"edgeops/v1/down/{attacker.id}/meta"]
    assert {messages.decode(one, messages.MetaPart).status for one in answers} == {messages.MetaStatus.MISSING}
    (_, newest) = rig.rows(f"SELECT min(closed_at), max(closed_at) FROM windows WHERE device_id = '{attacker.id}'")[0]
    assert newest <= time.time() * 1e6


# -- the connection -------------------------------------------------------------------


def test_a_message_of_ten_megabytes_ends_its_own_connection(rig, attacker, victim):
    with nothing_changes(rig, attacker, victim):
        client = raw(rig, attacker)
        with suppress(BrokenPipeError, ConnectionResetError):
            client.publish(own_topics(attacker)[0], bytes(10 * 1024 * 1024))
        assert client.is_over()
    told = eventually(lambda: events_of(rig, "connection.refused", attacker.id), what="the event that tells")
    assert "oversize" in {msgspec.json.decode(one.data)["attempt"] for one in told}


def test_another_name_needs_another_password(rig, attacker, victim):
    with nothing_changes(rig, attacker, victim):
        # Its own account under another's client id is its own account.
        client = raw(rig, attacker, client_id=client_id(victim.id))
        client.publish(f"edgeops/v1/up/{victim.id}/status")
        client.drop()
        for user, password in (
            (victim.id, attacker.password),
            (victim.id, ""),
            (victim.id, None),
            (rig.config.broker_user, attacker.password),
            ("nobody", "nothing"),
            ("", ""),
        ):
            assert RawClient(rig, user=user, password=password, client_id=client_id(attacker.id)).is_refused()


def test_a_thousand_connections_keep_nobody_out(rig, attacker, victim):
    held = []
    try:
        with nothing_changes(rig, attacker, victim):
            held.extend(RawClient(rig, user=attacker.id, password=attacker.password) for _ in range(1_000))
        newcomer = rig.device("newcomer")
        served(newcomer)
    finally:
        for client in held:
            client.drop()


# -- floods ---------------------------------------------------------------------------


@pytest.mark.long
def test_a_flood_is_cut_off_and_costs_the_others_time_and_nothing_else(rig, victim):
    if rig.embedded:
        pytest.skip("it reads a flooder later instead: test_embedded_broker.py")
    flooder = rig.device("flooder")
    flooder.disconnect()
    flood = Flood(rig, flooder, b"x" * 600)
    try:
        latencies = []
        while not flood.is_over:
            latencies += ack_latencies(victim, 1)
        latencies += ack_latencies(victim, 3)
    finally:
        flood.stop()
    through = victim.acked_through()
    assert through >= 2 + len(latencies)
    assert rig.rows(f"SELECT count(*) FROM windows WHERE device_id = '{victim.id}'") == [(through,)]  # and one answer
    # One time the agent's own repetition, at the worst, on a machine whose two cores the flood fills.
    assert max(latencies) < 2 * limits.ACK_TIMEOUT.total_seconds()
    assert rig.connections() == rig.link_log().count("link.started")
    told = [msgspec.json.decode(row.data) for row in events_of(rig, "device.floods", flooder.id)]
    assert 1 <= len(told) <= 4
    assert any("cut_off_until" in one for one in told)
    assert len(put_aside(rig, flooder)) <= limits.QUARANTINE_ROWS_PER_DEVICE
    assert RawClient(rig, user=flooder.id, password=flooder.password).is_refused()


def test_a_flood_within_what_is_taken_in_leaves_others_their_turn(rig, victim):
    flooder = rig.device("flooder")
    flooder.disconnect()
    payload = flooder.sealed(
        UpKind.TELEMETRY, flooder.records(*[(seq, messages.encode(window())) for seq in range(16)])
    )
    flood = Flood(rig, flooder, payload, rate=400)
    try:
        latencies = ack_latencies(victim, 12)
        assert not flood.is_over
    finally:
        flood.stop()
    assert statistics.median(latencies) < 2.0
