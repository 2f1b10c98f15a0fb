"""A loop that stands still is found; sleep, stops, slow turns and a silent world are no hang."""

import contextlib
import socket
from datetime import timedelta

import pytest

from device_agent.watchdog import Pulse, Vigil, Watchdog, notify
from device_agent.worker import Worker
from edgeops import limits

AFTER = timedelta(minutes=5)
DAY_S = 86_400


@pytest.fixture
def vigil():
    return Vigil(most_s=2.0)


@pytest.fixture
def pulse(vigil):
    pulse = Pulse()
    vigil.watch("main", pulse, hangs_after=AFTER)
    return pulse


def looks(vigil, seconds, *, step_s=1.0):
    """Look every `step_s`; when a hang was found, in seconds, or None."""
    at_s = 0.0
    while at_s < seconds:
        at_s += step_s
        if vigil.look(step_s):
            return at_s
    return None


def test_a_loop_that_stands_still_is_found_after_its_time(vigil, pulse):
    pulse.beat()
    vigil.look(1.0)
    assert looks(vigil, 1_000) == AFTER.total_seconds()


def test_a_loop_that_turns_now_and_then_lives_for_a_day(vigil, pulse):
    for _ in range(DAY_S // 290):
        pulse.beat()
        assert looks(vigil, 290) is None


def test_a_worker_without_work_lives_for_a_day(vigil, pulse):
    pulse.rest()
    assert looks(vigil, DAY_S) is None


def test_work_that_does_not_end_is_found(vigil, pulse):
    pulse.rest()
    vigil.look(1.0)
    pulse.beat()
    vigil.look(1.0)
    assert looks(vigil, 1_000) == AFTER.total_seconds()


def test_a_machine_that_slept_for_a_night_is_no_hang(vigil, pulse):
    pulse.beat()
    vigil.look(1.0)
    assert vigil.look(8 * 3600.0) is None
    pulse.beat()
    assert vigil.look(1.0) is None


def test_the_longest_a_step_may_be_silent_in_good_order_is_no_hang():
    longest = limits.PROBE_TIMEOUT + limits.TRUST_TIMEOUT + limits.FETCH_TIMEOUT
    assert longest < limits.STEP_HANGS_AFTER


def test_the_watchdog_names_the_loop_that_hangs():
    found = []
    watchdog = Watchdog(interval_s=0.005, end=found.append)
    watchdog.pulse("feed", hangs_after=timedelta(seconds=0.02)).beat()
    watchdog.start()
    watchdog._thread.join(10)
    assert found == ["feed"]


def test_a_worker_beats_with_every_task():
    pulse = Pulse()
    worker = Worker("tasks", pulse=pulse)
    worker.submit(lambda: None)
    worker.close(10)
    assert pulse.turns >= 3
    assert pulse.resting


def test_systemd_hears_what_it_asked_for(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        watchdog = Watchdog(interval_s=0.005, end=lambda _: None)
        watchdog.start()
        systemd.settimeout(10)
        assert [systemd.recv(64) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
        watchdog.close()


@pytest.mark.parametrize("goes_on", [False, True])
def test_systemd_hears_of_the_end_of_a_process_and_not_of_an_agent_that_another_one_follows(
    tmp_path, monkeypatch, goes_on
):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        watchdog = Watchdog(end=lambda _: None)
        watchdog.start()
        watchdog.close(goes_on=goes_on)
        systemd.setblocking(False)
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(systemd.recv(64))
        assert (b"STOPPING=1" in heard) is not goes_on


def test_without_systemd_nobody_is_told(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    notify("READY=1")
