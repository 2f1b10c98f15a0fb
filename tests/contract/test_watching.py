"""How people watch a fleet: hours, arrivals, samples and events, with a client that connects again."""

import json
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from itertools import islice

import pytest
from sqlalchemy import event

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.errors import InputError, NotFoundError
from fleet_server.api.events import is_wanted
from fleet_server.db import events, samples
from fleet_server.link.standing import Standing
from fleet_server.link.writing import Writer
from tests.contract.rig import DEADLINE_S, START, ApiRig, assert_problem
from tests.unit.loop_rows import sample_row
from tests.unit.test_ingest_hours import stored

HOUR = timedelta(hours=1)


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    rig.enrol_device("cam-1")
    rig.enrol_device("cam-2")
    yield rig
    rig.close()


def arrive(rig, *entries):
    Writer(rig.database, Standing(rig.database)).write([], entries, now=rig.now)


def happen(rig, kind="rollout.changed", subject="rollout-1", count=1):
    with rig.database.write() as connection:
        for number in range(count):
            events.append(connection, kind, subject, {"number": number}, START)
        return events.last_id(connection)


def listening(rig, **wanted):
    return rig.client(Role.VIEWER).events(**wanted)


# -- hours and arrivals -----------------------------------------------------------------


def test_a_device_is_shown_hour_by_hour(rig):
    arrive(rig, *(stored(n, closed_at=START + n * HOUR / 2, rows=n + 1) for n in range(6)))
    client = rig.client(Role.VIEWER)
    assert [(one.hour, one.windows, one.rows) for one in client.hourly_telemetry("cam-1")] == [
        (START, 2, 3),
        (START + HOUR, 2, 7),
        (START + 2 * HOUR, 2, 11),
    ]
    some = list(client.hourly_telemetry("cam-1", since=START + HOUR, until=START + 2 * HOUR))
    assert [one.windows for one in some] == [2]
    assert len(list(client.telemetry("cam-1"))) == 6
    assert list(client.hourly_telemetry("cam-2")) == []
    with pytest.raises(NotFoundError, match="no deployment 'other'"):
        list(client.hourly_telemetry("cam-1", deployment="other"))
    with pytest.raises(NotFoundError, match="no device"):
        list(client.hourly_telemetry("nobody"))


def test_hours_come_in_pages_like_windows(rig):
    arrive(rig, *(stored(n, closed_at=START + n * HOUR) for n in range(5)))
    path = "/api/v1/devices/cam-1/telemetry?resolution=hour&limit=2"
    first = rig.request("GET", path, role=Role.VIEWER).json()
    second = rig.request("GET", f"{path}&cursor={first['next']}", role=Role.VIEWER).json()
    assert [item["hour"] for item in first["items"] + second["items"]] == [
        f"2026-01-01T0{hour}:00:00Z" for hour in range(4)
    ]
    raw = rig.request("GET", f"/api/v1/devices/cam-1/telemetry?cursor={first['next']}", role=Role.VIEWER)
    assert_problem(raw, 422)


def test_the_fleet_is_summed_from_hours_alone(rig):
    arrive(rig, *(stored(n, device=f"cam-{1 + n % 2}", closed_at=START + (n // 4) * HOUR) for n in range(8)))
    with rig.database.write_telemetry() as connection:
        connection.exec_driver_sql("DELETE FROM windows")
    client = rig.client(Role.VIEWER)
    assert [(one.hour, one.devices, one.windows, one.model) for one in client.fleet_telemetry()] == [
        (START, 2, 4, None),
        (START + HOUR, 2, 4, None),
    ]
    assert [one.hour for one in client.fleet_telemetry(since=START + HOUR)] == [START + HOUR]
    with pytest.raises(NotFoundError, match="no model 'nothing'"):
        list(client.fleet_telemetry(model="nothing"))


def test_windows_are_listed_as_they_arrived_each_with_a_name_of_its_own(rig):
    late = stored(0, closed_at=START - HOUR)
    late.row["received_at"] = START + HOUR
    arrive(rig, stored(1, closed_at=START), stored(2, device="cam-2", closed_at=START), late)
    client = rig.client(Role.VIEWER)
    every = list(client.arrivals())
    assert [one.device_id for one in every] == ["cam-1", "cam-2", "cam-1"]
    assert every[-1].closed_at == START - HOUR
    assert len({(one.device_id, one.id) for one in every}) == 3
    assert list(client.arrivals(since=START + HOUR)) == every[2:]
    assert list(client.arrivals(device="cam-2")) == every[1:2]
    assert list(client.latest_arrivals(2)) == every[1:]


# -- samples ------------------------------------------------------------------------------


def test_a_sample_is_shown_with_its_readings_and_an_unknown_one_is_not_found(rig):
    with rig.database.write_telemetry() as connection:
        samples.add(connection, [sample_row(0, START)])
    client = rig.client(Role.VIEWER)
    shown = client.sample("sample-0")
    assert (shown.readings, shown.weight, shown.by_chance) == (((1.5, None),), 3.0, True)
    assert (shown.answer, shown.shadow_answer, shown.shadow_label) == (1.0, 2.0, None)
    with pytest.raises(NotFoundError, match="no sample 'sample-9'"):
        client.sample("sample-9")
    with pytest.raises(NotFoundError, match="no model"):
        list(client.samples("digits"))


# -- events -------------------------------------------------------------------------------


def test_events_are_listed_by_kind_and_subject(rig):
    start = happen(rig, "job.queued", "job-1")
    happen(rig, "rollout.created", "rollout-1")
    happen(rig, "rollout.changed", "rollout-2")
    client = rig.client(Role.VIEWER)
    assert [one.kind for one in client.past_events(after=start)] == ["rollout.created", "rollout.changed"]
    assert [one.subject for one in client.past_events(kinds=["rollout.", "job.queued"])] == [
        "job-1",
        "rollout-1",
        "rollout-2",
    ]
    assert [one.kind for one in client.past_events(subject="rollout-2")] == ["rollout.changed"]
    # A prefix is a text, not a pattern.
    assert list(client.past_events(kinds=["rollout_", "%"])) == []


def test_a_stream_gives_all_that_is_kept_then_what_happens(rig):
    happen(rig, count=2 * limits.MAX_PAGE_SIZE + 3)
    stream = listening(rig, after=0, kinds=["rollout."])
    past = list(islice(stream, 2 * limits.MAX_PAGE_SIZE + 3))
    assert [one.data["number"] for one in past] == list(range(len(past)))
    assert list(rig.client(Role.VIEWER).past_events(kinds=["rollout."])) == past
    last = happen(rig)
    assert next(stream).id == last


def test_a_stream_begins_with_what_is_new_and_leaves_out_what_nobody_asked_for(rig):
    happen(rig)
    heard = []
    opened = threading.Event()

    def listen():
        with rig.http.stream(
            "GET",
            "/api/v1/events/stream",
            params={"kind": ["rollout.", "label.received"], "subject": "rollout-1"},
            headers={"Authorization": f"Bearer {rig.tokens[Role.VIEWER]}"},
        ) as answer:
            for line in answer.iter_lines():
                opened.set()
                if line.startswith("data:"):
                    heard.append(json.loads(line[5:]))
                if len(heard) == 2:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert opened.wait(DEADLINE_S)
    happen(rig, "job.changed", "rollout-1")
    happen(rig, "rollout.changed", "rollout-2")
    first = happen(rig, "rollout.changed", "rollout-1")
    second = happen(rig, "label.received", "rollout-1")
    thread.join(DEADLINE_S)
    assert [(one["id"], one["kind"]) for one in heard] == [(first, "rollout.changed"), (second, "label.received")]


def test_a_reader_who_comes_back_misses_nothing_and_hears_nothing_twice(rig, monkeypatch):
    monkeypatch.setattr(limits, "STREAM_LIFE", timedelta(seconds=0.2))
    start = happen(rig)
    stream = listening(rig, after=start)
    expected = []
    for _ in range(4):
        expected += [happen(rig), happen(rig)]
        assert [next(stream).id, next(stream).id] == expected[-2:]


def test_many_readers_share_one_look_at_the_table(rig):
    start = happen(rig)
    streams = [listening(rig, after=start) for _ in range(8)]
    first = happen(rig)
    assert {next(stream).id for stream in streams} == {first}
    looks = []

    def count(_connection, _cursor, statement, *_):
        if "FROM events" in statement:
            looks.append(time.monotonic())

    begun = time.monotonic()
    engine = rig.app.state.server.database.control
    event.listen(engine, "before_cursor_execute", count)
    second = happen(rig)
    assert {next(stream).id for stream in streams} == {second}
    event.remove(engine, "before_cursor_execute", count)
    assert len(looks) <= 1 + (time.monotonic() - begun) / limits.STREAM_INTERVAL.total_seconds()


def test_too_many_readers_are_told_to_come_later_and_leave_room_when_they_go(rig, monkeypatch):
    monkeypatch.setattr(limits, "MAX_STREAMS", 2)
    start = happen(rig, count=2) - 1
    streams = [listening(rig, after=start) for _ in range(2)]
    for stream in streams:
        next(stream)
    answer = rig.request("GET", "/api/v1/events/stream", role=Role.VIEWER)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    streams[0].close()
    for _ in range(300):
        if not rig.app.state.server.feed.is_full:
            break
        happen(rig)
    assert next(listening(rig, after=start)).id == start + 1


def test_a_silent_stream_shows_that_it_lives_and_where_to_begin_again(rig, monkeypatch):
    monkeypatch.setattr(limits, "STREAM_HEARTBEAT", timedelta(seconds=0.05))
    last = happen(rig)
    with rig.http.stream(
        "GET",
        "/api/v1/events/stream?kind=nothing",
        headers={"Authorization": f"Bearer {rig.tokens[Role.VIEWER]}"},
    ) as answer:
        assert answer.headers["cache-control"] == "no-store"
        lines = list(islice(answer.iter_lines(), 6))
    assert lines == [": connected", f"id: {last}", "", ": still here", f"id: {last}", ""]


def test_a_place_that_is_none_is_refused(rig):
    for place in ("-1", "x"):
        answer = rig.request("GET", "/api/v1/events/stream", role=Role.VIEWER, headers={"Last-Event-ID": place})
        assert_problem(answer, 422)
    with pytest.raises(InputError):
        list(rig.client(Role.VIEWER).past_events(after=-1))


def test_a_place_in_the_future_is_the_present(rig):
    happen(rig)
    stream = listening(rig, after=10**9)
    heard = threading.Event()

    def go_on_happening():
        while not heard.wait(0.5):
            happen(rig)

    present = threading.Thread(target=go_on_happening)
    present.start()  # when the stream begins to listen depends on the machine
    try:
        assert next(stream).kind == "rollout.changed"
    finally:
        heard.set()
        present.join()


def test_kinds_match_by_their_beginning():
    happened = events.Event(1, START, "rollout.changed", "rollout-1", {})
    assert is_wanted(happened, kinds=(), subject=None)
    assert is_wanted(happened, kinds=("job.", "rollout."), subject="rollout-1")
    assert not is_wanted(happened, kinds=("roll.",), subject=None)
    assert not is_wanted(happened, kinds=(), subject="rollout-2")


# -- tail ---------------------------------------------------------------------------------


def tail(rig, *options):
    command = [sys.executable, "-m", "edgeops.cli.entry", "telemetry", "tail", "--url", rig.url, *options]
    return subprocess.Popen(
        [*command, "--token", rig.tokens[Role.VIEWER]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_tail_shows_each_window_once_as_it_arrives_and_ends_cleanly(rig):
    arrive(rig, stored(0), stored(1))
    process = tail(rig, "--json", "--last", "1")
    seen = [json.loads(process.stdout.readline())]
    for number in range(2, 6):
        # Two of the same moment, so that the one before it comes again.
        arrive(rig, stored(number, closed_at=START + timedelta(days=400) + (number // 2) * HOUR))
        seen.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "", "")
    assert [one["id"].split("-")[1] for one in seen] == ["1", "2", "3", "4", "5"]
    assert {one["kind"] for one in seen} == {"window"}


def test_the_tail_of_one_device_is_for_people_too_and_an_unknown_device_is_told(rig):
    process = tail(rig, "--device", "cam-1")
    assert process.stderr.readline() == "waiting for windows; Ctrl-C ends\n"
    arrive(rig, stored(0, device="cam-2"), stored(1))
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (0, "")
    assert "cam-1  digits  sha256:000000000000  live  10 rows in 0.1 s, 1 errors, 2 dropped" in line
    unknown = tail(rig, "--device", "nobody")
    assert "nobody" in unknown.communicate(timeout=DEADLINE_S)[1]
    assert unknown.returncode == 3
