"""Monitoring: from stored windows to findings."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from edgeops import limits
from edgeops.drift.finding import Kind, Verdict
from fleet_server.db import devices, drifting
from tests.unit.drift_rig import CHANNELS, DriftRig


@pytest.fixture
def rig(tmp_path):
    rig = DriftRig(tmp_path)
    yield rig
    rig.close()


def test_a_fleet_in_the_world_it_learnt_from_is_stable(rig):
    for _ in range(4):
        rig.round()
    finding = rig.fleet()
    assert finding.judgement.verdict is Verdict.STABLE
    assert [channel.name for channel in finding.judgement.channels] == list(CHANNELS)
    assert len(rig.spells()) == 1


def test_a_change_is_found_with_its_first_round_however_long_the_fleet_was_stable(rig):
    for _ in range(20):
        rig.round()
    rig.round(shift=2.0)
    finding = rig.fleet()
    assert finding.judgement.verdict is Verdict.DRIFT
    assert Kind.DATA in finding.judgement.kinds
    assert [one.name for one in finding.judgement.channels if one.drifted] == ["x2"]


def test_a_fleet_was_last_stable_when_its_newest_window_closed_not_when_that_was_judged(rig):
    """What devices answer before a late judgement is of the world after it."""
    for _ in range(4):
        rig.round()
    for device_id in ("edge-1", "edge-2"):
        rig.send(device_id, rig.weather.rows(100))
    closed_at = rig.now
    rig.wait(60)
    assert rig.fleet().last_at == rig.now
    assert rig.fleet().seen_until == closed_at
    rig.round(shift=2.0)
    with rig.database.read() as connection:
        (found,) = drifting.standing(connection)
    assert found.stable_until == closed_at


def test_rounds_that_come_at_once_are_judged_one_after_the_other(rig):
    """A look that comes late finds the same border between two worlds as one that came in between."""
    rig.round()
    for shift in (0.0, 0.0, 2.0):
        rig.wait(30, turn=False)
        for device_id in ("edge-1", "edge-2", "edge-3"):
            rig.send(device_id, rig.weather.rows(200, shift=shift))
        if not shift:
            border = rig.now
    rig.monitoring.run_once(rig.now)
    assert rig.fleet().judgement.verdict is Verdict.DRIFT
    with rig.database.read() as connection:
        (found,) = drifting.standing(connection)
    assert found.stable_until == border


def test_windows_of_27_rows_of_three_devices_are_judged_together(rig):
    rig.round(27, shift=2.5)
    finding = rig.fleet()
    assert finding.judgement.verdict is Verdict.DRIFT
    assert finding.judgement.rows == 81


def test_too_few_rows_are_never_called_healthy(rig):
    rig.round(5)
    finding = rig.fleet()
    assert finding.judgement.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert finding.judgement.rows_needed > 0


def test_a_change_that_ends_ends_its_spell(rig):
    for shift in (0, 0, 2, 2, *[0] * 8):
        rig.round(300, shift=shift, every_s=70)
    verdicts = [one.judgement.verdict for one in rig.spells()]
    assert verdicts[0] is Verdict.STABLE
    assert Verdict.DRIFT in verdicts


def test_one_device_that_differs_is_a_local_finding_and_no_drift_of_the_fleet(rig):
    for number in range(4, 8):
        rig.enrol(f"edge-{number}")
    of = tuple(f"edge-{number}" for number in range(1, 8))
    for _ in range(6):
        rig.round(200, of=of, shifts={"edge-5": 2.0})
    assert rig.fleet().judgement.verdict is Verdict.STABLE
    assert rig.local("edge-5").judgement.verdict is Verdict.DRIFT
    assert [rig.spells(one) for one in of if one != "edge-5"] == [[]] * 6


def test_one_liar_neither_makes_nor_hides_a_drift_of_the_fleet(rig):
    for number in range(4, 8):
        rig.enrol(f"edge-{number}")
    honest = tuple(f"edge-{number}" for number in range(1, 7))
    lie = rig.weather.rows(50_000, shift=9.0)
    for _ in range(6):
        rig.send("edge-7", lie)
        rig.send("edge-7", lie)
        rig.round(200, of=honest)
    assert rig.fleet().judgement.verdict is Verdict.STABLE
    calm = rig.weather.rows(50_000)
    for _ in range(6):
        rig.send("edge-7", calm)
        rig.send("edge-7", calm)
        rig.round(200, of=honest, shift=1.0)
    assert rig.fleet().judgement.verdict is Verdict.DRIFT


def test_a_device_that_talks_while_the_others_sleep_is_not_the_fleet(rig):
    rig.round()
    for _ in range(40):
        rig.round(200, shift=3.0, of=("edge-1",), every_s=3600)
        if rig.now - rig.fleet().first_at > timedelta(hours=20):
            break
    assert rig.fleet().judgement.verdict is Verdict.STABLE


def test_impossible_sketches_are_left_out_and_the_rest_is_judged(rig):
    from edgeops.sketch.packing import pack
    from edgeops.sketch.window import MAX_ROWS, empty_sketch

    rig.round()
    rig.send("edge-3", [], sketch=b"\x01garbage")
    rig.send("edge-3", [], sketch=b"")
    rig.send("edge-3", [], sketch=pack(empty_sketch(3)))
    whole = empty_sketch(len(CHANNELS))
    rig.send(
        "edge-3", [], sketch=pack(type(whole)(**{**{f: getattr(whole, f) for f in whole.__slots__}, "rows": MAX_ROWS}))
    )
    rig.round(shift=2.0)
    assert rig.fleet().judgement.verdict is Verdict.DRIFT


def test_windows_of_a_trial_are_not_judged(rig):
    rig.round(shift=3.0, phase="trial")
    assert rig.fleet() is None


def test_windows_of_removed_and_quarantined_devices_are_left_out(rig):
    for _ in range(3):
        rig.round(200, shifts={"edge-2": 4.0, "edge-3": 4.0})
    with rig.database.write() as connection:
        devices.remove(connection, "edge-2", now=rig.now)
        devices.quarantine(connection, "edge-3", reason="two", now=rig.now)
    rig.wait(10)
    rig.wait(10, turn=False)
    rig.round(200, of=("edge-1",))
    assert rig.fleet().judgement.verdict is Verdict.STABLE
    assert rig.fleet().judgement.rows == 800


def test_a_model_that_runs_nowhere_gets_no_findings(rig):
    rig.round()
    rig.publish(2)
    for device_id in ("edge-1", "edge-2", "edge-3"):
        rig.report(device_id, version=2)
    before = rig.fleet()
    rig.round(shift=3.0)
    assert rig.fleet() == before
    rig.round(version=2)
    assert rig.fleet(2).judgement.verdict is Verdict.STABLE


def test_a_slot_waits_for_those_that_report_and_a_silent_one_never_blocks(rig):
    rig.round()
    rig.round(200, shift=2.0, of=("edge-1", "edge-2"), every_s=1)
    assert rig.fleet().judgement.verdict is Verdict.STABLE, "edge-3 is waited for"
    rig.wait(60)
    assert rig.fleet().judgement.verdict is Verdict.DRIFT


def test_a_stable_spell_is_told_once_and_always_says_when_it_was_last_so(rig):
    rig.round(every_s=1)
    first = rig.fleet()
    rig.round(every_s=1)
    again = rig.fleet()
    assert (again.id, again.first_at) == (first.id, first.first_at)
    assert again.last_at > first.last_at
    assert again.judgement.rows == 600
    assert len(rig.news()) == 1


def test_the_beginning_of_a_spell_is_an_event(rig):
    rig.round()
    rig.round(shift=2.0)
    told = rig.news()[-1]
    finding = rig.fleet()
    assert told.subject == finding.id
    assert told.data == {
        "finding": finding.id, "model": "tiny", "version": 1, "digest": finding.stream.digest, "deployment": "bench",
        "device_id": "", "verdict": "drift", "kinds": list(finding.judgement.kinds),
    }  # fmt: skip


def test_nothing_new_is_nothing_to_judge(rig):
    assert rig.round() == 1
    assert rig.monitoring.run_once(rig.now) == 0


def test_a_restart_repeats_nothing_and_forgets_nothing(rig):
    for _ in range(3):
        rig.round(shift=2.0)
    told = len(rig.news())
    rig.restart()
    rig.monitoring.run_once(rig.now)
    assert len(rig.news()) == told
    rig.wait(10)
    rig.round(shift=2.0)
    assert rig.fleet().judgement.rows == 1200


def test_a_backlog_falls_where_it_belongs(rig):
    for _ in range(3):
        rig.round(200, of=("edge-1", "edge-2"))
    for age in (30, 20, 10):
        rig.send("edge-3", rig.weather.rows(200), closed_at=rig.now - timedelta(seconds=age))
    rig.wait(20)
    rig.wait(10, turn=False)
    rig.round(200)
    assert rig.fleet().judgement.rows == 9 * 200 + 600


def full(connection):
    """No finding can be written: on SQLite for want of the table, on PostgreSQL as if the disk were full."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ALTER TABLE findings RENAME TO away")
        return
    connection.exec_driver_sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$"
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON findings FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )


def room_again(connection):
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ALTER TABLE away RENAME TO findings")
    else:
        connection.exec_driver_sql("DROP FUNCTION full_disk CASCADE")


def test_a_database_that_fails_while_a_finding_is_written_loses_none(rig):
    rig.round()
    with rig.database.write() as connection:
        full(connection)
    with pytest.raises(OperationalError, match=r"no such table|is full"):
        rig.round(shift=2.0)
    with rig.database.write() as connection:
        room_again(connection)
    rig.monitoring.run_once(rig.now)
    assert rig.fleet().judgement.verdict is Verdict.DRIFT


def test_evidence_is_bounded_and_complete(rig):
    rig.round(shift=2.0)
    channel = next(one for one in rig.fleet().judgement.channels if one.name == "x2")
    assert len(channel.reference_histogram) == len(channel.window_histogram) == limits.HISTOGRAM_BINS
    assert 0 < channel.distance <= 1
    assert np.isfinite([channel.p_value, channel.effective_rows, channel.floor]).all()
