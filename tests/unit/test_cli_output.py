"""What goes to standard output."""

import json
import time
from datetime import UTC, datetime

import pytest

from edgeops.api.shapes import Job, JobState
from edgeops.cli.output import print_facts, print_json, print_json_line, print_table, size, turned

JOB = Job(id="job-1", kind="train", state=JobState.RUNNING, created_at=datetime(2026, 11, 23, tzinfo=UTC))


def test_json_is_one_document(capsys):
    print_json([JOB, JOB])
    document = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in document] == ["job-1", "job-1"]
    assert document[0]["created_at"] == "2026-11-23T00:00:00Z"


def test_a_stream_is_one_document_a_line(capsys):
    print_json_line(JOB)
    print_json_line({"jobs": (JOB,)})
    lines = capsys.readouterr().out.splitlines()
    assert [type(json.loads(line)) for line in lines] == [dict, dict]


def test_a_table_away_from_a_terminal_cuts_nothing_off_and_has_no_colours(capsys):
    digest = "sha256:" + "a" * 64
    print_table(("device", "digest", "rows>"), [("camera-1", digest, 5), ("camera-2", None, 12)])
    out = capsys.readouterr().out
    assert digest in out
    assert "\x1b" not in out
    assert [line.split() for line in out.splitlines()] == [
        ["device", "digest", "rows"], ["camera-1", digest, "5"], ["camera-2", "-", "12"],
    ]  # fmt: skip


def test_text_from_devices_is_never_markup(capsys):
    print_table(("device",), [("[red]camera[/red]",)])
    assert "[red]camera[/red]" in capsys.readouterr().out


def test_text_from_devices_cannot_command_the_terminal(capsys):
    print_facts({"agent": "1.0\x1b]0;owned\x07", "machine": "x\u202ey\x9b2J"})
    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out)
    assert r"1.0\x1b]0;owned\x07" in out


def test_an_empty_table_says_what_to_do(capsys):
    print_table(("device",), [], empty="no devices; enrol one")
    assert capsys.readouterr().out.strip() == "no devices; enrol one"


def test_facts_leave_out_what_is_not_known(capsys):
    print_facts({"device": "camera-1", "memory": None})
    assert capsys.readouterr().out.split() == ["device", "camera-1"]


def test_sizes_are_for_people():
    assert [size(count) for count in (0, 1023, 1024, 5 * 2**20, 3 * 2**30)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 GiB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "end", "shown"),
    [("UTC-9", "9999-12-31T23:59:59Z", "9999-12-31 23:59:59"), ("UTC+5", "0001-01-01T00:00:00Z", "1-01-01 00:00:00")],
)
def test_a_moment_that_has_no_date_here_is_shown_as_it_was_told(monkeypatch, capsys, zone, end, shown):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        print_table(("until",), [(datetime.fromisoformat(end),)])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown in capsys.readouterr().out


def test_what_changed_is_told_in_words():
    assert turned(None, ["site", "line"]) == "- -> site, line"
    assert turned({"type": "category", "allowed": ["idle", "on"]}, None) == "type category, allowed idle, on -> -"
