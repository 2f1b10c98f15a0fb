"""Windows become evidence: each counts once, on the right side, whatever order they come in and whatever dies."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from edgeops.protocol.messages import Presence
from edgeops.rollout.installation import InstallationEvent
from edgeops.rollout.verdict import Healthy, Undecided, Unhealthy
from fleet_server import roster
from fleet_server.db import devices, installations, rollouts
from fleet_server.db.database import Database
from fleet_server.rollout_health import health_of
from fleet_server.rollout_steps import take
from tests.unit.drift_rig import digest
from tests.unit.evidence_rig import NEW, OLD, POLICY, EvidenceRig, newest, pairs


@pytest.fixture
def rig(tmp_path):
    rig = EvidenceRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def rollout(rig):
    """A canary of one device that was asked; each device has a past."""
    for device_id in rig.ids:
        rig.window(device_id, OLD, rows=70)
    rig.gather()
    rig.wait(10)
    rollout_id = rig.roll_out()
    rig.wait(10)
    return rollout_id


def test_a_window_since_the_offer_is_added_to_its_device_and_its_wave(rig, rollout):
    rig.window("edge-00", NEW, rows=50, errors=2, dropped=1)
    assert rig.gather() == 1
    shown, wave = rig.shows("edge-00").health, rig.wave(rollout).canary
    assert (shown.since.windows, shown.since.rows, shown.since.errors, shown.since.dropped) == (1, 50, 2, 1)
    assert wave.since == shown.since
    assert (wave.devices, wave.heard) == (1, 1)
    assert rig.wave(rollout).incumbents == {digest(OLD): 1}


def test_windows_of_the_trial_count(rig, rollout):
    rig.window("edge-00", NEW, rows=20, phase="trial")
    rig.gather()
    assert rig.wave(rollout).canary.since.rows == 20


def judged(rig, rollout):
    with rig.database.read() as connection:
        wave = rollouts.get_wave(connection, rollout, 0)
        return health_of(connection, rollouts.get(connection, rollout), wave, rig.now)


def test_a_device_of_which_nothing_came_since_its_commit_is_not_heard(rig, rollout):
    for _ in range(20):
        rig.window("edge-00", NEW, rows=50, phase="trial", paired=pairs(50))
    rig.commit("edge-00")
    rig.gather()
    health = judged(rig, rollout)
    assert isinstance(health, Undecided)
    assert "0 of 1 device have been heard since they took the model" in health.words
    rig.window("edge-00", NEW, rows=1)
    rig.gather()
    assert isinstance(judged(rig, rollout), Healthy)


def test_a_device_that_lost_the_model_again_owes_no_word_of_the_time_since(rig):
    rollout = rig.roll_out(waves=("100%",))
    rig.wait(10)
    for device_id in rig.ids:
        for _ in range(20):
            rig.window(device_id, NEW, rows=50, phase="trial", paired=pairs(50))
    rig.gather()
    for device_id in rig.ids:
        rig.commit(device_id)
    rig.wait(1)
    for device_id in rig.ids[1:]:
        rig.window(device_id, NEW, rows=1)
    rig.gather()
    assert isinstance(judged(rig, rollout), Undecided)
    with rig.database.write() as connection:
        take(connection, newest(connection, rig.ids[0]), InstallationEvent.REGRESS, now=rig.now)
    assert isinstance(judged(rig, rollout), Healthy)


def test_its_own_past_is_taken_once_when_its_first_window_comes(rig, rollout):
    rig.window("edge-00", NEW)
    rig.gather()
    rig.window("edge-00", NEW)
    rig.gather()
    assert rig.shows("edge-00").health.before.rows == 70
    assert rig.wave(rollout).canary.before.rows == 70


def test_a_backlog_from_before_the_offer_is_past_and_never_since(rig, rollout):
    rig.window("edge-00", NEW, rows=50)
    rig.gather()
    rig.window("edge-00", OLD, rows=30, age_s=60)
    rig.window("edge-00", NEW, rows=40, age_s=60)  # it ran the model already, in an earlier rollout
    rig.gather()
    shown = rig.shows("edge-00").health
    assert (shown.before.rows, shown.since.rows) == (100, 50)


def test_a_window_that_was_open_at_the_offer_is_on_neither_side(rig, rollout):
    rig.window("edge-00", OLD, rows=30, lasts_s=15)
    rig.window("edge-00", NEW, rows=40, lasts_s=15)
    rig.gather()
    shown = rig.shows("edge-00").health
    assert (shown.since.rows, shown.before.rows) == (0, 0)


def test_a_past_has_no_more_windows_than_the_baseline_takes(rig):
    for _ in range(60):
        rig.window("edge-00", OLD, rows=1, age_s=1)
    rig.gather()
    rig.wait(10)
    rig.roll_out()
    rig.wait(10)
    rig.window("edge-00", NEW)
    rig.window("edge-00", OLD, rows=1, age_s=15)
    rig.gather()
    assert rig.shows("edge-00").health.before.windows == 48


def test_devices_that_wait_are_the_control_with_what_they_show_since_the_wave_began(rig, rollout):
    rig.window("edge-01", OLD, rows=40)
    rig.window("edge-02", OLD, rows=30)
    rig.window("edge-02", OLD, rows=25, phase="trial")
    rig.gather()
    wave = rig.wave(rollout)
    assert (wave.control.devices, wave.control.since.rows, wave.control.before.rows) == (2, 70, 140)
    assert wave.canary.devices == 0


def test_pairs_count_only_beside_the_incumbent(rig, rollout):
    rig.window("edge-00", NEW, paired=pairs(40, differ=4))
    rig.window("edge-00", NEW, paired=pairs(30, shadow=NEW))
    rig.gather()
    canary = rig.wave(rollout).canary
    assert (canary.pairs.rows, canary.shadowed, canary.paired) == (40, 1, 1)
    assert rig.shows("edge-00").health.shadow_share == POLICY.shadow_share
    assert sum(canary.pairs.cells) == 40


def test_what_a_trial_took_of_memory_and_each_new_start_of_the_agent_are_noted(rig, rollout):
    rig.commit("edge-00")
    with rig.database.write() as connection:
        connection.exec_driver_sql("UPDATE devices SET session_counter = 3 WHERE id = 'edge-00'")
    rig.window("edge-00", NEW)
    rig.window("edge-00", NEW)
    rig.gather()
    shown = rig.shows("edge-00").health
    assert (shown.memory_bytes, shown.since.crashes) == (4_000_000, 2)


def started_again(rig, device_id, session):
    with rig.database.write() as connection:
        assert devices.set_presence(
            connection, device_id, presence=Presence.ONLINE, session_counter=session, now=rig.now
        )


def test_starts_of_an_agent_that_its_model_takes_down_at_once_count_without_a_window(rig, rollout):
    rig.window("edge-00", NEW)
    rig.commit("edge-00")
    rig.gather()
    for session in (2, 3, 4):
        started_again(rig, "edge-00", session)
    rig.gather()
    assert rig.wave(rollout).canary.since.crashes == 3
    rig.restart()
    rig.gather()
    rig.window("edge-00", NEW)
    rig.gather()
    assert rig.wave(rollout).canary.since.crashes == 3, "counted twice"
    assert rig.shows("edge-00").health.since.crashes == 3


def test_starts_before_the_offer_are_the_measure_of_those_since(rig):
    started_again(rig, "edge-00", 3)  # before the windows: not in their time
    rig.wait(60)
    rig.window("edge-00", OLD)
    rig.wait(5)
    started_again(rig, "edge-00", 4)
    rig.wait(5)
    started_again(rig, "edge-00", 6)
    rig.window("edge-00", OLD)
    rig.gather()
    rig.wait(10)
    rollout = rig.roll_out()
    rig.wait(10)
    rig.window("edge-00", NEW)
    rig.commit("edge-00")
    rig.gather()
    started_again(rig, "edge-00", 7)
    rig.gather()
    canary = rig.wave(rollout).canary
    assert (canary.before.crashes, canary.since.crashes) == (3, 1)
    rig.window("edge-00", OLD, lasts_s=60, age_s=30)
    rig.gather()
    canary = rig.wave(rollout).canary
    assert (canary.before.windows, canary.before.crashes) == (3, 5), "a late window of the past brings its time along"


def test_starts_in_the_trial_are_the_devices_own_affair(rig, rollout):
    started_again(rig, "edge-00", 2)
    rig.gather()
    assert rig.wave(rollout).canary.since.crashes == 0


@pytest.mark.parametrize("shown", ["before-it-commits", "after-it-commits"])
def test_starts_before_the_commit_are_none_of_the_new_model(rig, rollout, shown):
    started_again(rig, "edge-00", 4)
    rig.gather()
    if shown == "before-it-commits":
        rig.window("edge-00", NEW, phase="trial")
        rig.gather()
        started_again(rig, "edge-00", 6)
    rig.commit("edge-00")
    rig.window("edge-00", NEW)
    rig.gather()
    assert rig.wave(rollout).canary.since.crashes == 0
    started_again(rig, "edge-00", 8)
    rig.window("edge-00", NEW)
    rig.gather()
    assert rig.wave(rollout).canary.since.crashes == (2 if shown == "before-it-commits" else 4)


def test_a_device_that_was_not_heard_is_missed_though_another_one_timed_out(rig):
    rollout = rig.roll_out(waves=("100%",))
    rig.wait(10)
    with rig.database.write() as connection:
        first, second, third = sorted(installations.of_rollout(connection, rollout, limit=3), key=lambda one: one.id)
    rig.window(first.device_id, NEW, phase="trial")
    rig.window(second.device_id, NEW)
    rig.gather()
    with rig.database.write() as connection:
        take(connection, first, InstallationEvent.TIME_OUT, now=rig.now)
    rig.commit(second.device_id)
    rig.commit(third.device_id)
    with rig.database.read() as connection:
        wave = replace(rollouts.get_wave(connection, rollout, 0), bakes_since=rig.now)
        health = health_of(connection, rollouts.get(connection, rollout), wave, rig.now)
    assert (wave.committed, wave.failed) == (2, 1)
    assert health.evidence["sums"]["canary"]["devices"] == 3
    assert health.evidence["sums"]["canary"]["heard"] == 2


def test_missing_readings_and_the_mix_of_answers_come_from_the_sketch(rig, rollout):
    rig.window("edge-00", NEW, rows=50, sketch=rig.sketch(50))
    rig.gather()
    inputs = rig.shows("edge-00").health.since.inputs
    assert (inputs.values, inputs.missing) == (200, 0)
    assert (len(inputs.mix), sum(inputs.mix)) == (3, 50)
    assert inputs.estimated_accuracy is None, "its reference knows no worth of confidences"


def test_windows_go_on_to_count_after_the_clock_of_the_server_was_ahead_for_a_while(rig, rollout):
    rig.wait(3 * 3600)
    rig.window("edge-00", NEW, rows=50)
    rig.gather()
    rig.wait(60 - 3 * 3600)
    rig.window("edge-00", NEW, rows=40)
    rig.gather()
    rig.window("edge-00", NEW, rows=30)
    rig.window("edge-01", OLD, rows=20)
    rig.gather()
    assert rig.shows("edge-00").health.since.rows == 120
    assert rig.wave(rollout).control.since.rows == 20
    assert rig.gather() == 0


def test_each_window_counts_once_whatever_dies_in_mid_transaction(rig, rollout):
    """Every write fails once; what was counted is what arrived, no more and no less."""
    for _ in range(3):
        rig.window("edge-00", NEW, rows=50)
        rig.window("edge-01", OLD, rows=20)
    fragile = _Dying(rig.database)
    attempts = 0
    while True:
        attempts += 1
        rig.restart()
        fragile.arm(after=attempts)
        try:
            rig.gather()
        except _PowerCutError:
            continue
        break
    fragile.disarm()
    assert attempts > 3
    wave = rig.wave(rollout)
    assert (wave.canary.since.rows, wave.canary.since.windows, wave.control.since.rows) == (150, 3, 60)
    assert rig.gather() == 0


def test_nothing_counts_after_a_wave_was_judged_or_its_rollout_ended(rig, rollout):
    rig.window("edge-00", NEW, rows=50)
    rig.gather()
    with rig.database.write() as connection:
        connection.exec_driver_sql("UPDATE rollouts SET state = 'aborted'")
    rig.window("edge-00", NEW, rows=50)
    assert rig.gather() == 1
    assert rig.wave(rollout).canary.since.rows == 50


@pytest.mark.parametrize("windows", [1, 20])
def test_a_batch_costs_as_many_statements_whatever_the_size_of_the_fleet(tmp_path, windows):
    counts = []
    for size in (4, 40):
        rig = EvidenceRig(tmp_path / f"{size}", size=size)
        rig.roll_out(waves=("50%", "100%"))
        rig.wait(10)
        for _ in range(2):
            # The first time each device's past is looked up.
            for number in range(windows):
                rig.window(rig.ids[number % 2], NEW)
            with _counted(rig.database) as statements:
                rig.gather()
        counts.append(len(statements))
        rig.close()
    assert counts[0] == counts[1] <= 14


class _PowerCutError(Exception):
    """The process ends here."""


class _Dying:
    """Cuts the power before the nth statement that writes."""

    def __init__(self, database: Database) -> None:
        self._left = None
        event.listen(database.control, "before_cursor_execute", self._before)
        event.listen(database.control, "commit", lambda _: self._count())

    def arm(self, *, after: int) -> None:
        self._left = after

    def disarm(self) -> None:
        self._left = None

    def _before(self, _connection, _cursor, statement, *_) -> None:
        if statement.startswith(("UPDATE", "INSERT")):
            self._count()

    def _count(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise _PowerCutError


class _counted:  # noqa: N801 - reads as a function
    def __init__(self, database):
        self._engines = database.control, database.telemetry
        self._statements = []

    def _note(self, _connection, _cursor, statement, *_):
        self._statements.append(statement)

    def __enter__(self):
        for engine in self._engines:
            event.listen(engine, "before_cursor_execute", self._note)
        return self._statements

    def __exit__(self, *_):
        for engine in self._engines:
            event.remove(engine, "before_cursor_execute", self._note)


def test_who_showed_itself_and_ended_without_the_model_does_not_stand_for_one_that_was_not_heard(rig):
    rollout = rig.roll_out(waves=("100%",))
    rig.wait(10)
    for device_id in rig.ids[:2]:
        rig.window(device_id, NEW, 200, paired=pairs(200))
    rig.gather()
    with rig.database.write() as connection:
        one = newest(connection, rig.ids[0])
        take(connection, one, InstallationEvent.DOUBT, now=rig.now)
    rig.window(rig.ids[0], NEW, 200, paired=pairs(200))
    rig.gather()
    for device_id in rig.ids[1:]:
        rig.commit(device_id)
    canary = rig.wave(rollout).canary
    assert (canary.devices, canary.heard, canary.since.rows) == (1, 1, 400)


def baking(rig, rollout, *, committed):
    """What the gate says of the first wave, which bakes, once these devices have shown enough."""
    for device_id in committed:
        rig.commit(device_id)
        for _ in range(10):
            rig.window(device_id, NEW, rows=40, paired=pairs(40))
    rig.gather()

    def judge():
        with rig.database.read() as connection:
            wave = replace(rollouts.get_wave(connection, rollout, 0), bakes_since=rig.now)
            return health_of(connection, rollouts.get(connection, rollout), wave, rig.now)

    return judge


def test_what_a_quarantined_device_showed_proves_nothing_until_it_is_released(rig, rollout):
    judge = baking(rig, rollout, committed=["edge-00"])
    assert isinstance(judge(), Healthy)
    with rig.database.write() as connection:
        devices.quarantine(connection, "edge-00", reason="two", now=rig.now)
    verdict = judge()
    assert isinstance(verdict, Undecided)
    assert "what 1 quarantined device showed is not believed" in verdict.words
    assert "0 of 0 devices have been heard" in verdict.words
    with rig.database.write() as connection:
        devices.release(connection, "edge-00", now=rig.now)
    assert isinstance(judge(), Healthy)


def test_the_others_of_a_wave_prove_it_without_a_quarantined_device(rig):
    rollout = rig.roll_out(waves=("100%",))
    rig.wait(10)
    judge = baking(rig, rollout, committed=rig.ids)
    with rig.database.write() as connection:
        devices.quarantine(connection, "edge-00", reason="two", now=rig.now)
    verdict = judge()
    assert isinstance(verdict, Healthy), verdict
    assert (verdict.evidence["sums"]["canary"]["devices"], verdict.evidence["sums"]["canary"]["since"]["rows"]) == (
        2,
        800,
    )


@pytest.mark.parametrize("ended", [False, True])
def test_what_a_quarantined_device_showed_in_its_trial_is_held_against_nobody(rig, ended):
    rollout = rig.roll_out(waves=("100%",))
    rig.wait(10)
    for _ in range(5):
        rig.window("edge-02", NEW, rows=50, errors=300, phase="trial", paired=pairs(50, errors=100))
    judge = baking(rig, rollout, committed=rig.ids[:2])
    assert isinstance(judge(), Unhealthy)
    with rig.database.write() as connection:
        devices.quarantine(connection, "edge-02", reason="two", now=rig.now)
        if ended:
            take(connection, newest(connection, "edge-02"), InstallationEvent.FAIL, now=rig.now)
    verdict = judge()
    assert isinstance(verdict, Healthy), verdict
    assert verdict.evidence["sums"]["canary"]["devices"] == 2


def test_a_wave_all_of_whose_devices_were_removed_does_not_pass(rig, rollout):
    judge = baking(rig, rollout, committed=["edge-00"])
    roster.remove(rig.drift.config, rig.database, "edge-00", removed_by="me", now=rig.now)
    verdict = judge()
    assert isinstance(verdict, Undecided)
    assert "1 device left the fleet, and no other of the wave is there" in verdict.words


def test_what_a_device_showed_before_it_was_removed_counts_beside_one_that_is_there(rig):
    rollout = rig.roll_out(waves=("100%",))
    rig.wait(10)
    judge = baking(rig, rollout, committed=rig.ids)
    roster.remove(rig.drift.config, rig.database, "edge-00", removed_by="me", now=rig.now)
    verdict = judge()
    assert isinstance(verdict, Healthy), verdict
    assert verdict.evidence["sums"]["canary"]["devices"] == 3
