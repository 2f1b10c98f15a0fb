"""Whether a deployment runs what it shall, from what it reports and what is wanted of it."""

import pytest

from edgeops.protocol.messages import DeploymentState, DesiredDeployment, Reason, UpdateState
from edgeops.rollout.deviation import Cause, Deviation, agrees, deviation, words
from edgeops.update.update import RESTING

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def told(active, state=UpdateState.COMMITTED, **more):
    return DeploymentState(deployment="gas", state=state, active=active, **more)


def wanted(digest):
    return DesiredDeployment(deployment="gas", target=digest and "models/gas/1.json", digest=digest, installation="i-1")


def judged(report, wish, *, proven=True, behind=False):
    return deviation(report, wish, proven=proven, behind=behind)


def test_what_runs_as_it_shall_agrees_and_is_no_deviation():
    for digest in (A, None):
        assert agrees(told(digest), wanted(digest))
        assert judged(told(digest), wanted(digest)) is None


def test_where_nobody_says_what_shall_run_everything_agrees():
    assert agrees(told(A), None)
    assert agrees(None, None)
    assert judged(told(A), None) is None


@pytest.mark.parametrize(
    ("runs", "should", "cause"), [(B, A, Cause.OTHER_MODEL), (B, None, Cause.OTHER_MODEL), (None, A, Cause.NO_MODEL)]
)
def test_what_was_proven_and_does_not_run_is_a_deviation_that_asking_may_heal(runs, should, cause):
    assert not agrees(told(runs), wanted(should))
    assert judged(told(runs), wanted(should)) == Deviation(cause=cause, should=should, runs=runs, heals_by_asking=True)


def test_a_deployment_that_the_device_forgot_runs_no_model():
    assert not agrees(None, wanted(A))
    assert judged(None, wanted(A)) == Deviation(cause=Cause.NO_MODEL, should=A, runs=None, heals_by_asking=True)
    assert agrees(None, wanted(None))


@pytest.mark.parametrize("state", list(UpdateState))
def test_only_a_device_at_rest_is_judged(state):
    found = judged(told(B, state), wanted(A))
    assert (found is not None) is (state in RESTING)


def test_a_device_that_waits_for_its_disk_or_for_news_is_not_judged():
    assert judged(told(B, reason=Reason.DISK), wanted(A)) is None
    assert judged(told(B), wanted(A), behind=True) is None


def test_what_never_was_installed_is_no_deviation():
    assert judged(told(B), wanted(A), proven=False) is None
    assert judged(None, wanted(A), proven=False) is None


@pytest.mark.parametrize("state", list(UpdateState))
@pytest.mark.parametrize("behind", [False, True])
def test_what_a_device_itself_says_it_lost_is_believed_at_once(state, behind):
    report = told(B, state, instead_of=A)
    assert not agrees(report, wanted(A))
    found = judged(report, wanted(A), proven=False, behind=behind)
    assert found == Deviation(cause=Cause.FELL_BACK, should=A, runs=B, heals_by_asking=state in RESTING and not behind)


def test_a_device_that_lost_everything_runs_no_model():
    found = judged(told(None, instead_of=A), wanted(A))
    assert found == Deviation(cause=Cause.NO_MODEL, should=A, runs=None, heals_by_asking=True)


@pytest.mark.parametrize(("runs", "cause"), [(B, Cause.CRASHED), (None, Cause.NO_MODEL)])
def test_a_device_that_gave_a_model_up_is_not_asked_for_it_again(runs, cause):
    found = judged(told(runs, UpdateState.ROLLED_BACK, instead_of=A, fallen=True), wanted(A))
    assert found == Deviation(cause=cause, should=A, runs=runs, heals_by_asking=False, fallen=True)
    answers = "no model" if runs is None else runs
    assert words(found) == f"{answers} answers; {A} fell: the agent died again and again within moments of its start"


def test_what_was_lost_is_not_asked_for_where_something_else_is_wanted():
    for wish in (wanted(B), None):
        assert not agrees(told(B, instead_of=A), wish)
        found = judged(told(B, instead_of=A), wish)
        assert found is not None
        assert not found.heals_by_asking


@pytest.mark.parametrize(
    ("cause", "runs", "should", "said"),
    [
        (Cause.NO_MODEL, None, A, f"no model answers; {A} should"),
        (Cause.OTHER_MODEL, B, A, f"{B} answers; {A} should"),
        (Cause.OTHER_MODEL, B, None, f"{B} answers; nothing should"),
        (
            Cause.FELL_BACK,
            B,
            A,
            f"{B} answers; {A} was committed, and is damaged or gone from the device's disk",
        ),
    ],
)
def test_people_hear_what_runs_and_what_should(cause, runs, should, said):
    assert words(Deviation(cause=cause, should=should, runs=runs, heals_by_asking=False)) == said
