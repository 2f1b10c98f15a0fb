"""Rollouts from creation to their end, with a clock that only the test moves."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.errors import ConflictError, InputError, NotFoundError
from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import aliases, audit, candidates, devices, events, models
from fleet_server.db.aliases import Alias
from fleet_server.db.events import EventKind
from fleet_server.rollout_orders import pause_rollout
from tests.unit.engine_rig import ENOUGH, QUICK, Fleet, digest_of, target_of

S = InstallationState


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path, size=3)
    yield made
    made.close()


# -- the way that ends well -----------------------------------------------------------


def test_only_the_canary_is_asked_first(fleet):
    rollout = fleet.roll_out()

    assert fleet.states(rollout) == {"dev-0": S.OFFERED, "dev-1": S.PENDING, "dev-2": S.PENDING}
    wanted = fleet.desired("dev-0")
    assert (wanted.target, wanted.digest) == (target_of(1), digest_of(1))
    assert wanted.installation == fleet.newest("dev-0").id
    assert fleet.desired("dev-1") is None


def test_the_second_wave_is_asked_when_the_canary_gave_its_proof(fleet):
    rollout = fleet.roll_out()

    fleet.commit("dev-0")

    assert fleet.states(rollout) == {"dev-0": S.HEALTHY, "dev-1": S.OFFERED, "dev-2": S.OFFERED}
    first, second = fleet.waves(rollout)
    assert first.verdict["verdict"] == "pass"
    assert first.verdict["reason"].startswith(
        "proof: installed and healthy: 1 of 1 device committed after 20 inferences; "
    )
    assert first.verdict["evidence"]["findings"]
    assert (first.size, first.offered, first.committed) == (1, 1, 1)
    assert (second.size, second.offered, second.committed) == (2, 2, 0)
    assert second.started_at == fleet.now


def test_a_rollout_finishes_with_its_proof_in_words(fleet):
    rollout = fleet.roll_out()
    for device_id in fleet.ids:
        fleet.commit(device_id)

    ended = fleet.rollout(rollout)
    assert ended.state is RolloutState.FINISHED
    assert ended.reason.startswith("proof: installed and healthy: 2 of 2 devices committed after 20 inferences each; ")
    assert ended.finished_at == fleet.now
    assert fleet.installations(rollout)["dev-2"].evidence.inferences == 20


def test_what_was_rolled_out_to_the_end_is_champion_and_challenger_no_longer(fleet):
    with fleet.database.write() as connection:
        aliases.assign(connection, "gas", Alias.CHALLENGER, 1, fleet.now, actor="job-1")
    rollout = fleet.roll_out()
    fleet.commit("dev-0")
    with fleet.database.read() as connection:
        assert aliases.holders(connection, ["gas"]) == {"gas": {Alias.CHALLENGER: 1}}

    for device_id in fleet.ids[1:]:
        fleet.commit(device_id)

    with fleet.database.read() as connection:
        assert aliases.holders(connection, ["gas"]) == {"gas": {Alias.CHAMPION: 1}}
        told = [one.data["alias"] for one in events.after(connection, 0, [EventKind.ALIAS_CHANGED])]
        history = aliases.page(connection, "gas", None, 10)
    assert told == ["challenger", "champion", "challenger"]
    assert [(one.alias, one.version, one.actor) for one in reversed(history)] == [
        ("challenger", 1, "job-1"),
        ("champion", 1, rollout),
        ("challenger", None, rollout),
    ]


def test_another_challenger_goes_on_waiting(fleet):
    with fleet.database.write() as connection:
        aliases.assign(connection, "gas", Alias.CHALLENGER, 2, fleet.now, actor="job-1")
    fleet.roll_out()
    for device_id in fleet.ids:
        fleet.commit(device_id)
    with fleet.database.read() as connection:
        assert aliases.holders(connection, ["gas"]) == {"gas": {Alias.CHAMPION: 1, Alias.CHALLENGER: 2}}


def test_a_commit_without_proof_does_not_pass_until_the_proof_comes(fleet):
    rollout = fleet.roll_out()
    fleet.say("dev-0", UpdateState.COMMITTED)
    assert fleet.states(rollout)["dev-0"] is S.INSTALLING

    fleet.show(fleet.newest("dev-0"))
    fleet.say("dev-0", UpdateState.TRIAL, evidence=ENOUGH)

    assert fleet.states(rollout)["dev-0"] is S.HEALTHY


def test_what_devices_report_shows_progress(fleet):
    rollout = fleet.roll_out()
    state = DeploymentState(
        deployment="gas", state=UpdateState.FETCHING, installation=fleet.newest("dev-0").id, candidate=digest_of(1)
    )
    fleet.report("dev-0", state)
    assert fleet.states(rollout)["dev-0"] is S.INSTALLING


def test_the_same_version_again_counts_with_the_proof_it_gave_before(fleet):
    first = fleet.roll_out()
    for device_id in fleet.ids:
        fleet.commit(device_id)
    assert fleet.rollout(first).state is RolloutState.FINISHED
    fleet.now += timedelta(seconds=1)

    again = fleet.roll_out()
    for device_id in fleet.ids:
        fleet.show(fleet.newest(device_id))
        fleet.say(device_id, UpdateState.COMMITTED, detail="already active")

    assert fleet.rollout(again).state is RolloutState.FINISHED


# -- failures --------------------------------------------------------------------------


def test_a_failed_canary_fails_the_rollout_and_nobody_else_is_asked(fleet):
    rollout = fleet.roll_out()

    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN, detail="answers 3 instead of 7")

    ended = fleet.rollout(rollout)
    assert ended.state is RolloutState.FAILED
    assert ended.reason == "1 of 1 device did not keep the model: dev-0 failed (golden: answers 3 instead of 7)"
    assert fleet.states(rollout) == {"dev-0": S.FAILED, "dev-1": S.SUPERSEDED, "dev-2": S.SUPERSEDED}
    fleet.wait(timedelta(hours=2))
    assert fleet.desired("dev-1") is None


@pytest.mark.parametrize(
    ("state", "reason", "end"),
    [
        (UpdateState.REJECTED, Reason.NOT_LISTED, S.REJECTED),
        (UpdateState.FAILED, Reason.FETCH, S.FAILED),
        (UpdateState.ROLLED_BACK, Reason.INFERENCE, S.ROLLED_BACK),
    ],
)
def test_after_a_failure_the_device_is_wanted_to_run_what_it_last_proved(fleet, state, reason, end):
    fleet.roll_out(1)
    for device_id in fleet.ids:
        fleet.commit(device_id)
    fleet.now += timedelta(seconds=1)
    proven = fleet.newest("dev-0")

    rollout = fleet.roll_out(2)
    assert fleet.desired_digest("dev-0") == digest_of(2)
    fleet.say("dev-0", state, reason=reason)

    assert fleet.states(rollout)["dev-0"] is end
    wanted = fleet.desired("dev-0")
    assert (wanted.digest, wanted.target, wanted.installation) == (digest_of(1), target_of(1), proven.id)


def test_after_a_failure_of_the_first_model_nothing_is_wanted(fleet):
    fleet.roll_out()
    fleet.say("dev-0", UpdateState.REJECTED, reason=Reason.NOT_LISTED)
    assert fleet.desired_digest("dev-0") is None


def test_without_records_of_its_own_the_server_wants_what_the_device_says_it_runs(fleet):
    running = DeploymentState(deployment="gas", state=UpdateState.COMMITTED, active=digest_of(1))
    fleet.report("dev-0", running)
    fleet.roll_out(2)
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.desired_digest("dev-0") == digest_of(1)


def test_a_failure_in_a_wave_takes_the_open_offers_of_the_others_back(fleet):
    rollout = fleet.roll_out(waves=("100%",), policy=replace(QUICK, roll_back_on_failure=False))
    fleet.commit("dev-1")

    fleet.say("dev-0", UpdateState.ROLLED_BACK, reason=Reason.INFERENCE)

    assert fleet.states(rollout) == {"dev-0": S.ROLLED_BACK, "dev-1": S.COMMITTED, "dev-2": S.SUPERSEDED}
    assert fleet.desired_digest("dev-1") == digest_of(1), "who committed keeps the model"
    assert fleet.desired_digest("dev-2") is None


def test_a_commit_in_spite_of_errors_fails_the_rollout(fleet):
    rollout = fleet.roll_out()
    fleet.say("dev-0", UpdateState.COMMITTED, evidence={**ENOUGH, "errors": 1})
    assert fleet.rollout(rollout).state is RolloutState.FAILED
    assert fleet.desired_digest("dev-0") is None


def test_a_withdrawn_model_ends_its_rollout(fleet):
    rollout = fleet.roll_out()
    fleet.withdraw(1)
    fleet.run()

    ended = fleet.rollout(rollout)
    assert (ended.state, ended.reason) == (RolloutState.FAILED, "gas@1 int8 was withdrawn")
    assert fleet.states(rollout)["dev-0"] is S.SUPERSEDED
    assert fleet.desired_digest("dev-0") is None


# -- doubt and silence ------------------------------------------------------------------


def test_an_inconclusive_trial_pauses_with_the_reason(fleet):
    rollout = fleet.roll_out()
    fleet.say("dev-0", UpdateState.ROLLED_BACK, reason=Reason.INCONCLUSIVE, detail="no input for 10 minutes")

    paused = fleet.rollout(rollout)
    assert paused.state is RolloutState.PAUSED
    assert paused.reason == ("no proof from 1 of 1 device: dev-0 inconclusive (inconclusive: no input for 10 minutes)")
    assert paused.finished_at is None
    assert fleet.waves(rollout)[0].verdict["verdict"] == "wait"


def test_a_device_that_falls_silent_is_a_failure(fleet):
    rollout = fleet.roll_out()
    fleet.wait(timedelta(minutes=9))
    assert fleet.rollout(rollout).state is RolloutState.RUNNING

    fleet.wait(timedelta(minutes=2))

    assert fleet.rollout(rollout).state is RolloutState.FAILED
    assert "dev-0 timed-out (not heard to go on within 600 s)" in fleet.rollout(rollout).reason
    assert fleet.desired_digest("dev-0") is None


def test_a_commit_after_the_deadline_is_believed_while_the_rollout_goes_on(fleet):
    rollout = fleet.roll_out(waves=("100%",), policy=replace(QUICK, max_failure=1.0, min_devices=3))
    fleet.wait(timedelta(minutes=9))
    fleet.say("dev-1", UpdateState.TRIAL)
    report = DeploymentState(deployment="gas", state=UpdateState.TRIAL, installation=fleet.newest("dev-1").id)
    fleet.report("dev-1", report)
    fleet.wait(timedelta(minutes=2))
    assert fleet.states(rollout)["dev-0"] is S.TIMED_OUT

    fleet.commit("dev-0")

    assert fleet.states(rollout)["dev-0"] is S.COMMITTED


def test_a_failure_while_paused_fails_the_rollout(fleet):
    rollout = fleet.roll_out(waves=("100%",))
    fleet.say("dev-1", UpdateState.ROLLED_BACK, reason=Reason.INCONCLUSIVE)
    pause_rollout(fleet.database, rollout, fleet.me())
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.rollout(rollout).state is RolloutState.FAILED


def test_a_device_that_says_the_same_once_a_minute_is_at_work_however_soon_it_shall_go_on(fleet):
    rollout = fleet.roll_out(policy=replace(QUICK, progress_timeout=timedelta(seconds=5)))
    about = fleet.newest("dev-0").id
    for _ in range(5):
        fleet.report("dev-0", DeploymentState(deployment="gas", state=UpdateState.PROBING, installation=about))
        fleet.wait(limits.REPORT_INTERVAL, step=timedelta(seconds=20))
    assert fleet.states(rollout)["dev-0"] is S.INSTALLING
    fleet.wait(limits.QUIET_WORK, step=timedelta(seconds=20))
    assert "dev-0 timed-out (not heard to go on within 120 s)" in fleet.rollout(rollout).reason


def test_an_outage_of_the_server_times_nobody_out(fleet):
    rollout = fleet.roll_out()
    fleet.now += timedelta(hours=3)
    fleet.run()
    assert fleet.rollout(rollout).state is RolloutState.RUNNING

    fleet.wait(timedelta(minutes=1))
    fleet.commit("dev-0")
    fleet.wait(timedelta(minutes=2))

    assert fleet.states(rollout)["dev-0"] is S.HEALTHY
    assert fleet.rollout(rollout).wave == 1


def test_after_the_grace_of_an_outage_silence_counts_again(fleet):
    rollout = fleet.roll_out()
    fleet.now += timedelta(hours=3)
    fleet.run()
    fleet.wait(timedelta(minutes=11))
    assert fleet.rollout(rollout).state is RolloutState.RUNNING, "the grace and the time that was left"
    fleet.wait(timedelta(minutes=2))
    assert fleet.rollout(rollout).state is RolloutState.FAILED


# -- who is not there --------------------------------------------------------------------


def test_devices_that_are_online_go_first(fleet):
    fleet.go("dev-0")
    rollout = fleet.roll_out()
    assert fleet.states(rollout) == {"dev-0": S.PENDING, "dev-1": S.OFFERED, "dev-2": S.PENDING}


def test_an_offline_device_does_not_block_and_is_asked_when_it_comes(fleet):
    fleet.go("dev-2")
    rollout = fleet.roll_out()
    fleet.commit("dev-0")
    fleet.commit("dev-1")

    finished = fleet.rollout(rollout)
    assert finished.state is RolloutState.FINISHED
    assert "; 1 device not asked yet (offline, pinned or quarantined); " in finished.reason
    assert fleet.desired("dev-2") is None

    fleet.come("dev-2")

    assert fleet.states(rollout)["dev-2"] is S.OFFERED
    fleet.commit("dev-2")
    assert fleet.states(rollout)["dev-2"] is S.COMMITTED
    fleet.wait(timedelta(seconds=3), step=timedelta(seconds=1))
    assert fleet.states(rollout)["dev-2"] is S.HEALTHY, "by a health gate of its own"


def test_a_device_that_was_dead_when_it_was_asked_is_asked_when_it_comes_and_counts_as_not_asked(fleet):
    rollout = fleet.roll_out()
    fleet.wait(timedelta(seconds=40), step=timedelta(seconds=10))
    fleet.go("dev-0")  # the broker tells what it found out
    fleet.wait(timedelta(minutes=12))
    assert fleet.states(rollout)["dev-0"] is S.PENDING
    assert fleet.waves(rollout)[0].offered == 0
    fleet.come("dev-0")
    assert fleet.states(rollout)["dev-0"] is S.OFFERED
    fleet.commit("dev-0")
    assert fleet.rollout(rollout).wave == 1


def test_a_device_that_missed_its_wave_takes_part_in_the_present_one(fleet):
    fleet.go("dev-0")
    fleet.go("dev-1")
    rollout = fleet.roll_out(waves=("2", "100%"))
    assert fleet.states(rollout) == {"dev-2": S.OFFERED, "dev-0": S.PENDING, "dev-1": S.PENDING}
    fleet.commit("dev-2")
    assert fleet.rollout(rollout).wave == 1

    fleet.come("dev-0")

    assert fleet.states(rollout)["dev-0"] is S.OFFERED
    assert fleet.installations(rollout)["dev-0"].wave == 1
    assert [wave.size for wave in fleet.waves(rollout)] == [1, 2]
    fleet.commit("dev-0")
    assert fleet.rollout(rollout).state is RolloutState.FINISHED


def test_a_wave_without_anybody_waits_and_then_pauses(fleet):
    for device_id in fleet.ids:
        fleet.go(device_id)
    rollout = fleet.roll_out()
    fleet.wait(timedelta(minutes=29))
    assert fleet.rollout(rollout).state is RolloutState.RUNNING

    fleet.wait(timedelta(minutes=2))

    assert fleet.rollout(rollout).state is RolloutState.PAUSED
    assert "none of 1 device could be asked" in fleet.rollout(rollout).reason


def test_a_canary_that_comes_late_is_asked_at_once(fleet):
    for device_id in fleet.ids:
        fleet.go(device_id)
    rollout = fleet.roll_out()
    fleet.come("dev-0")
    assert fleet.states(rollout)["dev-0"] is S.OFFERED


def test_a_removed_device_leaves_its_rollout(fleet):
    rollout = fleet.roll_out(waves=("100%",))
    fleet.remove("dev-0")
    assert fleet.states(rollout) == {"dev-0": S.SUPERSEDED, "dev-1": S.OFFERED, "dev-2": S.OFFERED}
    fleet.commit("dev-1")
    fleet.commit("dev-2")
    assert fleet.rollout(rollout).state is RolloutState.FINISHED


def test_a_rollout_that_waited_for_a_removed_device_only_goes_on_with_the_proof_of_the_others(fleet):
    rollout = fleet.roll_out(waves=("2", "100%"))
    fleet.commit("dev-0")
    fleet.remove("dev-1")
    assert fleet.states(rollout) == {"dev-0": S.HEALTHY, "dev-1": S.SUPERSEDED, "dev-2": S.OFFERED}


def test_a_rollout_ends_with_the_last_device_that_is_removed(fleet):
    rollout = fleet.roll_out(selector="id=dev-0")
    fleet.remove("dev-0")
    ended = fleet.rollout(rollout)
    assert (ended.state, ended.reason) == (
        RolloutState.ABORTED,
        "the last device it waited for, dev-0, was removed",
    )


def test_a_proven_rollout_has_finished_when_the_only_device_of_its_last_wave_is_removed(fleet):
    rollout = fleet.roll_out(waves=("2", "100%"))
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    assert fleet.states(rollout)["dev-2"] is S.OFFERED
    fleet.remove("dev-2")
    ended = fleet.rollout(rollout)
    assert (ended.state, ended.reason) == (
        RolloutState.FINISHED,
        "the waves before it passed, and the last device it waited for, dev-2, was removed",
    )


def test_a_rollout_whose_last_wave_is_taken_over_is_superseded_however_proven(fleet):
    rollout = fleet.roll_out(waves=("2", "100%"))
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    fleet.roll_out(selector="id=dev-2")
    assert fleet.rollout(rollout).state is RolloutState.ABORTED


def test_a_report_that_comes_before_a_removal_brings_no_desired_state_back(fleet):
    fleet.roll_out()
    fleet.say("dev-0", UpdateState.FAILED, run=False)
    fleet.remove("dev-0")
    with fleet.database.read() as connection:
        assert devices.wanted_by_device(connection, ["dev-0"]) == {"dev-0": []}
        assert devices.desired_of(connection, "dev-0") is None


def test_a_quarantined_device_is_not_asked(fleet):
    with fleet.database.write() as connection:
        devices.quarantine(connection, "dev-0", reason="cloned", now=fleet.now)
    rollout = fleet.roll_out()
    assert set(fleet.states(rollout)) == {"dev-1", "dev-2"}


# -- abort and newest wins -----------------------------------------------------------------


def test_an_abort_takes_open_offers_back_and_leaves_committed_devices(fleet):
    rollout = fleet.roll_out()
    fleet.commit("dev-0")

    fleet.abort(rollout)

    ended = fleet.rollout(rollout)
    assert (ended.state, ended.reason) == (RolloutState.ABORTED, "aborted by me")
    assert fleet.states(rollout) == {"dev-0": S.HEALTHY, "dev-1": S.SUPERSEDED, "dev-2": S.SUPERSEDED}
    assert fleet.desired_digest("dev-0") == digest_of(1)
    assert fleet.desired_digest("dev-1") is None


def test_what_a_device_says_after_an_abort_changes_nothing(fleet):
    rollout = fleet.roll_out()
    fleet.abort(rollout)
    fleet.commit("dev-0")
    assert fleet.states(rollout)["dev-0"] is S.SUPERSEDED
    assert fleet.desired_digest("dev-0") is None


def test_what_has_ended_cannot_be_aborted(fleet):
    rollout = fleet.roll_out()
    fleet.abort(rollout)
    with pytest.raises(ConflictError, match="is aborted already"):
        fleet.abort(rollout)
    with pytest.raises(NotFoundError, match="no rollout 'rollout-x'"):
        fleet.abort("rollout-x")


def test_a_finished_rollout_that_is_aborted_stays_finished_and_asks_nobody_who_comes_later(fleet):
    fleet.go("dev-2")
    rollout = fleet.roll_out(waves=("100%",))
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)
    assert fleet.rollout(rollout).state is RolloutState.FINISHED

    fleet.abort(rollout)

    fleet.come("dev-2")
    assert fleet.rollout(rollout).state is RolloutState.FINISHED
    assert fleet.states(rollout) == {"dev-0": S.HEALTHY, "dev-1": S.HEALTHY, "dev-2": S.SUPERSEDED}
    assert fleet.installations(rollout)["dev-2"].detail == "aborted by me"
    with pytest.raises(ConflictError, match="is finished already and asks nobody"):
        fleet.abort(rollout)


def test_a_draft_takes_no_device_over(fleet):
    fleet.roll_out(draft=True)
    with fleet.database.read() as connection:
        assert {one.taken_by for one in candidates.of_fleet(connection, "gas")} == {None}
    fleet.now += timedelta(seconds=1)
    running = fleet.roll_out(2)
    fleet.now += timedelta(seconds=1)
    fleet.roll_out(draft=True)
    with fleet.database.read() as connection:
        assert {one.taken_by for one in candidates.of_fleet(connection, "gas")} == {running}


def test_a_newer_rollout_takes_all_devices_over(fleet):
    older = fleet.roll_out(1)
    fleet.now += timedelta(seconds=1)

    newer = fleet.roll_out(2)

    ended = fleet.rollout(older)
    assert (ended.state, ended.reason) == (RolloutState.ABORTED, f"superseded by rollout {newer}")
    assert set(fleet.states(older).values()) == {S.SUPERSEDED}
    assert fleet.desired_digest("dev-0") == digest_of(2)


def test_a_newer_rollout_of_some_devices_leaves_the_others_to_the_older_one(fleet):
    older = fleet.roll_out(1)
    fleet.now += timedelta(seconds=1)

    newer = fleet.roll_out(2, selector="id=dev-2")

    assert fleet.states(older) == {"dev-0": S.OFFERED, "dev-1": S.PENDING, "dev-2": S.SUPERSEDED}
    fleet.commit("dev-0", installation=fleet.installations(older)["dev-0"])
    fleet.commit("dev-1", installation=fleet.installations(older)["dev-1"])
    fleet.commit("dev-2")
    assert fleet.rollout(older).state is RolloutState.FINISHED
    assert fleet.rollout(newer).state is RolloutState.FINISHED
    assert fleet.desired_digest("dev-2") == digest_of(2)


def test_a_newer_rollout_wins_over_a_late_device_of_a_finished_one(fleet):
    fleet.go("dev-2")
    older = fleet.roll_out(1)
    fleet.commit("dev-0")
    fleet.commit("dev-1")
    assert fleet.rollout(older).state is RolloutState.FINISHED
    fleet.now += timedelta(seconds=1)
    newer = fleet.roll_out(2)
    for device_id in ("dev-0", "dev-1"):
        fleet.commit(device_id)

    fleet.come("dev-2")

    assert fleet.states(older)["dev-2"] is S.SUPERSEDED
    assert fleet.states(newer)["dev-2"] is S.OFFERED
    assert fleet.desired_digest("dev-2") == digest_of(2)


def test_rollouts_of_other_deployments_are_left_alone(fleet):
    fleet.enrol("dev-3", deployments=("gas", "vibration"))
    gas = fleet.roll_out(1, selector="id=dev-3")
    vibration = fleet.roll_out(2, selector="id=dev-3", deployment="vibration")
    assert fleet.rollout(gas).state is fleet.rollout(vibration).state is RolloutState.RUNNING
    with fleet.database.read() as connection:
        wanted = devices.desired_of(connection, "dev-3").deployments
    assert {one.deployment: one.digest for one in wanted} == {"gas": digest_of(1), "vibration": digest_of(2)}


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "nope"}, NotFoundError, "no model 'nope'; known models: gas"),
        ({"version": 9}, NotFoundError, "model 'gas' has no version 9; known versions: 3, 2, 1"),
        ({"variant": "float32"}, NotFoundError, "gas@1 has no variant 'float32'; there are: int8"),
        ({"version": 3}, ConflictError, "gas@3 int8 is not published"),
        ({"deployment": "Gas!"}, InputError, "not a deployment name: 'Gas!'"),
        ({"deployment": "thermal"}, InputError, "no deployment 'thermal' on dev-0, dev-1, dev-2; they report gas"),
        ({"selector": "id=dev-9"}, InputError, "no enrolled device with id dev-9"),
        ({"waves": ("1",)}, InputError, "the waves end at 1 of 3 devices"),
        ({"intent": "whim"}, InputError, "unknown intent 'whim'; use improve or heal"),
    ],
)
def test_a_rollout_that_cannot_be_is_refused_and_leaves_nothing_behind(fleet, changes, error, words):
    with pytest.raises(error) as caught:
        fleet.roll_out(**changes)
    assert words in str(caught.value)
    assert fleet.events(EventKind.ROLLOUT_CREATED) == []
    with fleet.database.read() as connection:
        assert audit.verify(connection).entries == 0


def test_of_a_variant_that_is_not_published_those_that_are_are_named(fleet):
    with fleet.database.write() as connection:
        artifact = dataclasses.replace(
            models.get_artifact(connection, "gas", 3, "int8"), variant="dynamic", digest=digest_of(33)
        )
        models.add_artifact(connection, artifact)
        models.mark_published(connection, artifact, fleet.now, target="models/gas/3-dynamic.json")
    with pytest.raises(ConflictError, match=r"gas@3 int8 is not published.*; or roll out what is: --variant dynamic$"):
        fleet.roll_out(version=3)


def test_a_refused_rollout_leaves_the_older_one_running(fleet):
    older = fleet.roll_out(1)
    with pytest.raises(InputError):
        fleet.roll_out(2, waves=("1",))
    assert fleet.rollout(older).state is RolloutState.RUNNING


def test_a_withdrawn_model_is_not_rolled_out(fleet):
    fleet.withdraw(2)
    with pytest.raises(ConflictError, match="gas@2 int8 was withdrawn"):
        fleet.roll_out(2)


# -- what devices should not say -----------------------------------------------------------------


def test_a_device_cannot_speak_for_another_one(fleet):
    rollout = fleet.roll_out()
    fleet.commit("dev-1", installation=fleet.newest("dev-0"))
    assert fleet.states(rollout)["dev-0"] is S.OFFERED


def test_a_report_about_another_digest_is_ignored(fleet):
    rollout = fleet.roll_out()
    other = fleet.newest("dev-0")
    data = {
        "installation": other.id,
        "deployment": "gas",
        "digest": digest_bytes(b"other"),
        "state": "committed",
        "evidence": ENOUGH,
    }
    with fleet.database.write() as connection:
        events.append(connection, EventKind.REPORT_RECEIVED, "dev-0", data, fleet.now)
    fleet.run()
    assert fleet.states(rollout)["dev-0"] is S.OFFERED


def test_a_device_that_was_not_asked_cannot_commit(fleet):
    rollout = fleet.roll_out()
    fleet.commit("dev-1")
    assert fleet.states(rollout)["dev-1"] is S.PENDING


def test_a_commit_is_not_taken_back_by_a_contradiction(fleet):
    rollout = fleet.roll_out()
    fleet.commit("dev-0")
    fleet.say("dev-0", UpdateState.FAILED, reason=Reason.GOLDEN)
    assert fleet.states(rollout)["dev-0"] is S.HEALTHY
    assert fleet.rollout(rollout).state is RolloutState.RUNNING


def test_an_event_that_cannot_be_read_does_not_stop_the_others(fleet):
    rollout = fleet.roll_out()
    with fleet.database.write() as connection:
        events.append(connection, EventKind.REPORT_RECEIVED, "dev-0", {"state": "nonsense"}, fleet.now)
    fleet.commit("dev-0")
    assert fleet.states(rollout)["dev-0"] is S.HEALTHY
    assert "report.received" in fleet.bugs.told.pop()


# -- audit --------------------------------------------------------------------------------------


def test_decisions_of_people_are_in_the_audit_trail(fleet):
    rollout = fleet.roll_out()
    fleet.abort(rollout)
    with fleet.database.read() as connection:
        aborted, created = audit.page(connection, limit=10)
        assert audit.verify(connection) == audit.Intact(2, aborted.hash)
    assert (created.actor, created.action, created.subject) == ("me", "rollout.created", rollout)
    assert created.data["devices"] == 3
    assert (aborted.actor, aborted.action, aborted.subject) == ("me", "rollout.aborted", rollout)
