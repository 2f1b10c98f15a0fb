"""When a process that ended starts again, and when that has no point any more."""

import itertools
import time
from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.errors import PlatformError
from edgeops.local import processes
from edgeops.local.part import Part
from edgeops.local.restart import pause_before_restart

SPAN_S = limits.RESTART_SPAN.total_seconds()
PAUSE_S = limits.RESTART_PAUSE.total_seconds()


def ended_part(logs, code: str = "exit 3") -> Part:
    """A part whose process is a shell that ended."""

    def start() -> processes.Child:
        return processes.start("link", ["/bin/sh", "-c", code], logs=logs)

    part = Part(start=start, child=start())
    part.child.process.wait()
    return part


def test_one_that_fell_over_once_is_back_at_once():
    assert pause_before_restart([100.0]) == limits.RESTART_PAUSE


def test_each_end_within_the_span_doubles_the_pause():
    ends_s = [0.0, 1.0, 2.0, 3.0]
    pauses = [pause_before_restart(ends_s[:count]) for count in (1, 2, 3, 4)]
    assert pauses == [limits.RESTART_PAUSE * factor for factor in (1, 2, 4, 8)]


def test_so_many_ends_within_the_span_are_the_last():
    ends_s = [SPAN_S * 0.99 * place / (limits.RESTART_ENDS - 1) for place in range(limits.RESTART_ENDS)]
    assert pause_before_restart(ends_s) is None
    assert pause_before_restart(ends_s[1:]) is not None


def test_ends_of_long_ago_are_forgotten():
    now_and_then_s = [SPAN_S * place for place in range(100)]
    assert pause_before_restart(now_and_then_s) == limits.RESTART_PAUSE


def test_one_that_ends_at_once_each_time_is_given_up_within_seconds():
    now_s, ends_s = 0.0, []
    for _ in itertools.count():
        ends_s.append(now_s)
        pause = pause_before_restart(ends_s)
        if pause is None:
            break
        now_s += pause.total_seconds()
    assert len(ends_s) == limits.RESTART_ENDS
    assert timedelta(seconds=now_s) <= limits.RESTART_SPAN / 4


def test_a_process_that_runs_is_left_alone(tmp_path):
    part = ended_part(tmp_path)
    part.child = processes.start("link", ["/bin/sleep", "60"], logs=tmp_path)
    try:
        pid = part.child.pid
        part.mend(0.0, say=pytest.fail)
        assert part.child.pid == pid
    finally:
        part.stop()


def test_an_end_is_told_in_one_line_and_the_start_comes_after_the_pause(tmp_path):
    part, told = ended_part(tmp_path), []
    first = part.child.pid
    part.mend(10.0, say=told.append)
    part.mend(10.0 + PAUSE_S * 0.9, say=told.append)
    assert told == [f"link (pid {first}) ended with exit code 3; it starts again in 0.5 s"]
    assert part.child.pid == first
    part.mend(10.0 + PAUSE_S, say=told.append)
    assert part.child.pid != first
    assert len(told) == 1
    part.child.process.wait()


def test_one_that_ends_again_and_again_is_an_error_with_its_last_words(tmp_path):
    part, told = ended_part(tmp_path, "echo the port is taken; exit 3"), []
    now_s = 0.0

    def live_and_end() -> None:
        nonlocal now_s
        while True:
            part.child.process.wait()
            part.mend(now_s, say=told.append)
            now_s += 0.25

    with pytest.raises(PlatformError, match=r"(?s)link ended 5 times within \d+ s.*exit code 3.*the port is taken"):
        live_and_end()
    assert len(told) == limits.RESTART_ENDS - 1


def test_a_part_that_waits_for_its_start_has_nothing_to_stop(tmp_path):
    part = ended_part(tmp_path)
    part.mend(time.monotonic(), say=lambda _: None)
    part.stop()
    assert not part.child.running
