"""What a device reports is held against what it shall run: incidents, and what is sent again."""

from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.protocol.messages import DeploymentState, UpdateState
from edgeops.rollout.deviation import Cause
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server import rollout_orders as orders
from fleet_server.db import devices, incidents
from fleet_server.db.events import EventKind
from tests.unit.engine_rig import Fleet, digest_of

_S = UpdateState
_R = RolloutState
DEVICE = "dev-0"


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=1)
    fleet.publish(3)
    yield fleet
    fleet.close()


@pytest.fixture
def committed(fleet):
    """One device that committed version 1, and says so."""
    fleet.roll_out(1)
    fleet.commit(DEVICE)
    told(fleet, digest_of(1))
    return fleet.newest(DEVICE)


def told(fleet, active, state=_S.COMMITTED, **more):
    fleet.report(DEVICE, DeploymentState(deployment="gas", state=state, active=active, **more))


def known(fleet, **of):
    with fleet.database.read() as connection:
        return incidents.page(connection, limit=100, **of)


def revision(fleet):
    with fleet.database.read() as connection:
        return devices.get(connection, DEVICE).desired_revision


def close(fleet, incident, **said):
    with fleet.database.write() as connection:
        return incidents.close(connection, incident.id, now=fleet.now, **said)


def test_a_device_that_runs_what_it_shall_has_no_incident(fleet, committed):
    before = revision(fleet)
    told(fleet, committed.digest)
    assert known(fleet) == ()
    assert revision(fleet) == before


def test_another_model_than_the_committed_one_is_an_incident_and_is_asked_for_again(fleet, committed):
    before = revision(fleet)
    told(fleet, digest_of(2))
    (incident,) = known(fleet, is_open=True)
    assert (incident.device_id, incident.deployment, incident.cause) == (DEVICE, "gas", Cause.OTHER_MODEL)
    assert (incident.runs, incident.should) == (digest_of(2), committed.digest)
    assert incident.installation_id == committed.id
    assert (incident.opened_at, incident.asked) == (fleet.now, 1)
    assert revision(fleet) == before + 1
    assert fleet.desired_digest(DEVICE) == committed.digest
    assert fleet.desired(DEVICE).installation == committed.id


def test_what_regressed_is_told_once_by_its_installation(fleet, committed):
    told(fleet, digest_of(2))
    told(fleet, digest_of(2))
    (event,) = fleet.events(EventKind.INSTALLATION_REGRESSED)
    assert event.subject == committed.id
    assert event.data["incident"] == known(fleet)[0].id
    assert len(fleet.events(EventKind.INCIDENT_OPENED)) == 1


def test_an_incident_lasts_while_the_device_says_the_same_and_closes_by_itself(fleet, committed):
    told(fleet, digest_of(2))
    fleet.now += timedelta(minutes=1)
    told(fleet, digest_of(2))
    (incident,) = known(fleet)
    assert incident.last_at - incident.opened_at == timedelta(minutes=1)
    fleet.now += timedelta(minutes=1)
    told(fleet, committed.digest)
    (over,) = known(fleet, is_open=False)
    assert (over.id, over.ended_at, over.closed_at, over.closed_by) == (incident.id, fleet.now, fleet.now, "")
    assert len(fleet.events(EventKind.INCIDENT_CLOSED)) == 1


def test_a_device_is_asked_again_now_and_then(fleet, committed):
    told(fleet, digest_of(2))
    before = revision(fleet)
    fleet.now += limits.ASKED_AGAIN_AFTER - timedelta(seconds=1)
    told(fleet, digest_of(2))
    assert revision(fleet) == before
    fleet.now += timedelta(seconds=1)
    told(fleet, digest_of(2))
    assert revision(fleet) == before + 1
    assert known(fleet)[0].asked == 2


def test_no_model_where_one_was_committed_is_an_incident(fleet, committed):
    told(fleet, None, _S.IDLE)
    assert [one.cause for one in known(fleet)] == [Cause.NO_MODEL]


def test_a_deployment_that_is_reported_no_more_is_an_incident(fleet, committed):
    fleet.report(DEVICE)
    assert [one.cause for one in known(fleet)] == [Cause.NO_MODEL]


def test_a_fallback_that_the_device_tells_is_an_incident_while_it_heals_itself(fleet, committed):
    before = revision(fleet)
    told(fleet, digest_of(2), _S.FETCHING, instead_of=committed.digest)
    (incident,) = known(fleet)
    assert (incident.cause, incident.asked) == (Cause.FELL_BACK, 0)
    assert revision(fleet) == before
    # It did not: now it is asked for.
    told(fleet, digest_of(2), _S.FAILED, instead_of=committed.digest)
    assert (known(fleet)[0].asked, revision(fleet)) == (1, before + 1)
    told(fleet, digest_of(2), _S.TRIAL, instead_of=committed.digest)
    told(fleet, committed.digest)
    assert known(fleet, is_open=True) == ()


def test_a_model_that_fell_is_an_incident_and_nobody_asks_for_it_again(fleet, committed):
    before = revision(fleet)
    told(fleet, digest_of(2), _S.ROLLED_BACK, instead_of=committed.digest, fallen=True)
    fleet.now += limits.ASKED_AGAIN_AFTER
    told(fleet, digest_of(2), _S.ROLLED_BACK, instead_of=committed.digest, fallen=True)
    (incident,) = known(fleet, is_open=True)
    assert (incident.cause, incident.installation_id, incident.asked) == (Cause.CRASHED, committed.id, 0)
    assert revision(fleet) == before
    assert [one.subject for one in fleet.events(EventKind.INSTALLATION_REGRESSED)] == [committed.id]


def fall(fleet, version, *, to):
    """The device tells, some time later, that what it committed does not answer."""
    fleet.now += timedelta(seconds=30)
    told(fleet, digest_of(to), instead_of=digest_of(version))


def heal(fleet, version):
    fleet.now += timedelta(seconds=30)
    told(fleet, digest_of(version))


def outcomes(fleet, *rollout_ids):
    return [fleet.rollout(one).state for one in rollout_ids]


def test_a_fall_that_is_told_before_the_commit_turns_the_outcome_once_the_commit_is_known(fleet):
    fleet.bring(1)
    fleet.now += timedelta(seconds=1)
    second = fleet.roll_out(2, waves=("100%",))
    fall(fleet, 2, to=1)
    (incident,) = known(fleet)
    assert (incident.installation_id, fleet.events(EventKind.INSTALLATION_REGRESSED)) == (None, [])
    fleet.commit(DEVICE)
    fall(fleet, 2, to=1)
    fall(fleet, 2, to=1)
    (same,) = known(fleet, is_open=True)
    assert (same.id, same.installation_id) == (incident.id, fleet.newest(DEVICE).id)
    (event,) = fleet.events(EventKind.INSTALLATION_REGRESSED)
    assert (event.subject, event.data["incident"]) == (same.installation_id, same.id)
    assert outcomes(fleet, second) == [_R.FINISHED_WITH_REGRESSIONS]
    assert fleet.states(second) == {DEVICE: InstallationState.REGRESSED}


def test_a_fall_that_is_told_before_the_commit_is_none_of_what_brought_the_model_before(fleet):
    first, second = fleet.bring(1), fleet.bring(2)
    fleet.now += timedelta(seconds=1)
    third = fleet.roll_out(1, waves=("100%",))
    fall(fleet, 1, to=2)
    assert outcomes(fleet, first, second, third) == [_R.FINISHED, _R.FINISHED, _R.RUNNING]
    fleet.commit(DEVICE)
    fall(fleet, 1, to=2)
    assert outcomes(fleet, first, second, third) == [_R.FINISHED, _R.FINISHED, _R.FINISHED_WITH_REGRESSIONS]


def test_a_device_that_falls_twice_turns_the_outcome_of_the_rollout_that_brought_its_model_last(fleet):
    first, second, third = (fleet.bring(version) for version in (1, 2, 1))
    told(fleet, digest_of(1))
    for _ in range(2):
        fall(fleet, 1, to=2)
        heal(fleet, 1)
    assert outcomes(fleet, first, second, third) == [_R.FINISHED, _R.FINISHED, _R.FINISHED_WITH_REGRESSIONS]
    assert {one.installation_id for one in known(fleet)} == {fleet.newest(DEVICE).id}


def test_a_device_that_falls_from_what_a_newer_rollout_wants_already_regressed_for_the_one_that_brought_it(fleet):
    first = fleet.bring(1)
    second = fleet.bring(2)
    fleet.now += timedelta(seconds=1)
    fleet.roll_out(3, waves=("100%",))
    fall(fleet, 2, to=1)
    assert outcomes(fleet, first, second) == [_R.FINISHED, _R.FINISHED_WITH_REGRESSIONS]


@pytest.mark.parametrize(
    ("continuous", "goes_on", "turned"),
    [(False, _R.FINISHED, _R.FINISHED_WITH_REGRESSIONS), (True, _R.LIVE, _R.PAUSED)],
)
def test_a_device_that_falls_again_after_a_person_had_its_rollout_go_on_turns_the_outcome_again(
    fleet, continuous, goes_on, turned
):
    fleet.bring(1)
    second = fleet.bring(2, continuous=continuous)
    told(fleet, digest_of(2))
    fall(fleet, 2, to=1)
    assert outcomes(fleet, second) == [turned]
    orders.resume_rollout(fleet.database, second, fleet.me("a new card"))
    fall(fleet, 2, to=1)
    assert outcomes(fleet, second) == [goes_on], "that is what the person knew"
    heal(fleet, 2)
    fall(fleet, 2, to=1)
    assert outcomes(fleet, second) == [turned]


def test_another_model_that_should_answer_is_another_incident(fleet):
    fleet.bring(1)
    second = fleet.bring(2)
    fall(fleet, 2, to=1)
    third = fleet.bring(3)
    fall(fleet, 3, to=1)
    (latest,) = known(fleet, is_open=True)
    assert (latest.should, latest.installation_id) == (digest_of(3), fleet.newest(DEVICE).id)
    assert outcomes(fleet, second, third) == [_R.FINISHED_WITH_REGRESSIONS] * 2


def test_what_is_under_way_ends_no_incident_and_opens_none(fleet, committed):
    told(fleet, digest_of(2), _S.FETCHING)
    assert known(fleet) == ()
    told(fleet, digest_of(2))
    told(fleet, digest_of(2), _S.FETCHING)
    assert len(known(fleet, is_open=True)) == 1


def test_another_cause_is_another_incident(fleet, committed):
    told(fleet, digest_of(2))
    fleet.now += timedelta(seconds=1)
    told(fleet, None, _S.IDLE)
    latest, first = known(fleet)
    assert (latest.cause, latest.closed_at) == (Cause.NO_MODEL, None)
    assert (first.cause, first.ended_at) == (Cause.OTHER_MODEL, fleet.now)


def test_an_installation_that_never_committed_is_no_incident(fleet):
    fleet.roll_out(1)
    told(fleet, None, _S.FAILED)
    assert known(fleet) == ()


def test_a_device_that_has_not_heard_the_newest_is_not_judged(fleet, committed):
    with fleet.database.write() as connection:
        device = devices.get(connection, DEVICE)
        wanted = devices.desired_of(connection, DEVICE).deployments[0]
        devices.set_desired(connection, DEVICE, wanted, fleet.now)
        told_before = DeploymentState(deployment="gas", state=_S.COMMITTED, active=digest_of(2))
        devices.set_reported(connection, DEVICE, _with(device.reported, told_before), now=fleet.now)
    fleet.run()
    assert known(fleet) == ()


def _with(reported, state):
    import msgspec

    return msgspec.structs.replace(reported, deployments=(state,))


def test_what_a_person_closed_is_not_opened_again_before_it_was_over(fleet, committed):
    told(fleet, digest_of(2))
    (incident,) = known(fleet)
    assert close(fleet, incident, closed_by="ann", remark="on the bench")
    assert not close(fleet, incident, closed_by="ben", remark="")
    told(fleet, digest_of(2))
    (closed,) = known(fleet)
    assert (closed.closed_by, closed.remark, closed.ended_at) == ("ann", "on the bench", None)
    told(fleet, committed.digest)
    assert (known(fleet)[0].closed_by, known(fleet)[0].ended_at) == ("ann", fleet.now)
    fleet.now += timedelta(seconds=1)
    told(fleet, digest_of(2))
    assert [one.closed_at for one in known(fleet)] == [None, closed.closed_at]
    assert len(fleet.events(EventKind.INCIDENT_CLOSED)) == 1


def test_a_device_that_leaves_takes_its_incidents_along(fleet, committed):
    told(fleet, digest_of(2))
    fleet.remove(DEVICE)
    assert known(fleet, is_open=True) == ()
    assert known(fleet)[0].ended_at is not None


def test_labels_of_the_owner_are_the_devices_unless_the_server_says_otherwise(fleet):
    import msgspec

    with fleet.database.write() as connection:
        device = devices.get(connection, DEVICE)
        facts = msgspec.structs.replace(device.reported.facts, labels={"site": "plant-1"})
        devices.set_reported(connection, DEVICE, msgspec.structs.replace(device.reported, facts=facts), now=fleet.now)
    with fleet.database.read() as connection:
        assert devices.get(connection, DEVICE).labels == {"site": "plant-1"}
