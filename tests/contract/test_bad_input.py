"""Input that cannot be, or that cannot do what it is for: what a person sees of it, and what goes on regardless."""

import json
import threading
from datetime import timedelta

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.digest import digest_raw
from edgeops.protocol import messages
from edgeops.protocol.envelope import Envelope, Session
from edgeops.protocol.topics import Up, UpKind
from edgeops.sketch.histogram import packed_length
from fleet_server.db import jobs, runs
from fleet_server.link.catalog import Catalog
from fleet_server.link.keyring import Opened
from fleet_server.link.mqtt import Delivery
from fleet_server.link.reading import Reading
from fleet_server.link.standing import Standing
from fleet_server.link.writing import Writer
from tests.contract.loop_rig import DEVICES, LoopRig
from tests.contract.rig import DEADLINE_S, ApiRig
from tests.contract.trained import DATASET, MODEL, add_dataset, add_version
from tests.unit.drift_rig import DEPLOYMENT, digest, sketch_of

ROWS = 100
#: Exit code of a command that found drift.
DRIFTS = 8


def impossible(sketch):
    """The same bytes, but the first channel's counts are none that so many rows can have."""
    # Version, channels, rows and one byte of bits; then the counts.
    first = 4
    length = packed_length(ROWS)
    return sketch[:first] + b"\xff" * length + sketch[first + length :]


# -- what devices send --------------------------------------------------------------------


@pytest.fixture
def loop(tmp_path):
    loop = LoopRig(tmp_path)
    yield loop
    loop.close()


def arrive(rig, device_id, sketches):
    """A batch of records, one window each, as the link takes it in; `sketches` by the seconds since they were made."""
    windows = [
        messages.Window(
            deployment=DEPLOYMENT, digest=digest_raw(digest()), phase=messages.Phase.LIVE, rows=ROWS, source_rows=ROWS,
            errors=0, dropped=0, duration_ms=1000, latency_p50_us=1, latency_p95_us=1, sketch=sketch,
        )
        for sketch in sketches.values()
    ]  # fmt: skip
    records = messages.Records(
        spool=b"s" * 8,
        records=tuple(
            messages.Record(seq=seq, age_ms=1000 * age, at_ms=0, data=messages.encode(window))
            for seq, (age, window) in enumerate(zip(sketches, windows, strict=True))
        ),
    )
    topic = Up(device_id, UpKind.TELEMETRY)
    envelope = Envelope(1, topic.kind, device_id, "key", 0, Session(1, bytes(8)), 0, messages.encode(records), b"")
    standing = Standing(rig.database)
    reading = Reading(standing, Catalog(rig.database), is_quarantined=lambda _: False)
    reading.take(Opened(Delivery(str(topic), b"", False, rig.now, 1, 1), topic, envelope))
    reading.finish()
    Writer(rig.database, standing).write(reading.control, reading.telemetry, now=rig.now)


def test_a_sketch_with_impossible_counts_is_shown_in_quarantine_and_all_others_are_judged(loop, capsys):
    for device_id in DEVICES:
        good = [sketch_of(loop.fleet.weather.rows(ROWS, shift=2.0)) for _ in range(3)]
        bad = {8: good[1][:-1], 7: impossible(good[1])} if device_id == "edge-2" else {}
        arrive(loop, device_id, {9: good[0], **bad, 6: good[1], 3: good[2]})
    loop.pass_time(timedelta(minutes=1))
    seen = sorted((one.device_id, one.reason, one.detail) for one in loop.operator.quarantine())
    assert [one[:2] for one in seen] == [("edge-2", "record")] * 2
    assert seen[0][2].startswith("record 1: a sketch ends at byte ")
    assert seen[1][2] == f"record 2: a sketch with bin counts that {ROWS} rows cannot have"
    assert loop.edgeops("quarantine", "list", "--device", "edge-2") == 0
    shown = capsys.readouterr().out
    assert shown.count("edge-2  record") == 2
    assert "a sketch ends at byte" in shown
    assert list(loop.operator.quarantine("edge-1")) == []
    assert [len(list(loop.operator.telemetry(device_id))) for device_id in DEVICES] == [3, 3, 3]
    assert loop.edgeops("drift", "check", "tiny") == DRIFTS
    assert "x2" in capsys.readouterr().out
    (finding,) = loop.operator.drift("tiny").findings
    assert finding.rows == 9 * ROWS


# -- what models are made of --------------------------------------------------------------


WARNINGS = (
    "temperature differ between the quarters of these rows: they are shorter than the process's cycle, or follow a trend",
    "level never changed in these rows",
)


@pytest.fixture
def trained(tmp_path):
    """A version whose reference lacks something, as training writes it down."""
    rig = ApiRig(tmp_path)
    snapshot = add_dataset(rig.config, rig.database, rig.now)
    add_version(rig.config, rig.database, 1, rig.now, snapshot=snapshot)
    with rig.database.write() as connection:
        runs.succeed(connection, "run-0001", metrics={}, warnings=WARNINGS, now=rig.now)
    rig.edgeops = lambda *arguments: run([*arguments, "--url", rig.url, "--token", rig.tokens[Role.OPERATOR]])
    yield rig
    rig.close()


def test_what_a_reference_lacks_is_shown_with_its_version_for_ever(trained, capsys):
    assert trained.edgeops("model", "show", f"{MODEL}@1") == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("warning: ")] == [
        f"warning: {warning}" for warning in WARNINGS
    ]
    assert trained.edgeops("model", "show", f"{MODEL}@1", "--json") == 0
    assert tuple(json.loads(capsys.readouterr().out)["warnings"]) == WARNINGS
    (listed,) = trained.client().model(MODEL).versions
    assert listed.warnings is None, "a list does not tell them, which is not the same as none"


def test_who_trains_is_warned_of_what_the_reference_lacks(trained, capsys):
    def work():
        """What the job desk would do; its version is there already."""
        for _ in range(int(DEADLINE_S * 100)):
            with trained.database.write() as connection:
                job = jobs.claim(connection, trained.now)
                if job is not None:
                    jobs.succeed(connection, job.id, result={"version": 1}, now=trained.now)
                    return
            stop.wait(0.01)

    stop = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert trained.edgeops("train", DATASET, "--model", MODEL) == 0
    finally:
        stop.set()
        worker.join()
    out = capsys.readouterr().out
    assert all(f"warning: {warning}" in out for warning in WARNINGS)


def test_a_column_that_is_named_to_command_the_terminal_does_not(trained, capsys):
    with trained.database.write() as connection:
        warnings = ["\x1b[2J never changed in these rows"]
        runs.succeed(connection, "run-0001", metrics={}, warnings=tuple(warnings), now=trained.now)
    assert trained.edgeops("model", "show", f"{MODEL}@1") == 0
    assert "\x1b[2J" not in capsys.readouterr().out


def test_a_remark_that_not_every_database_keeps_is_refused_by_its_field(rig):
    answer = rig.request("PUT", "/api/v1/freeze", role=Role.OPERATOR, json={"remark": "stop\x00"})
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["#/remark"]
    assert rig.request("PUT", "/api/v1/freeze", role=Role.OPERATOR, json={"remark": "line\nline"}).is_success
