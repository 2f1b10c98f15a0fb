"""What a wave must show: installed, then baked, then healthy."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeops.rollout.evidence import (
    FOREVER,
    Fail,
    Pass,
    Proof,
    Wait,
    WaveEvidence,
    alone_verdict,
    installed_verdict,
    wave_verdict,
)
from edgeops.rollout.policy import Policy
from edgeops.rollout.verdict import Healthy, Undecided, Unhealthy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(trial_inferences=20, bake=10 * MINUTE, evidence_timeout=60 * MINUTE)
WELL, OPEN, ILL = Healthy("well"), Undecided("3 of 200 inputs"), Unhealthy("p95 41 ms against 12 ms")


def evidence(**values: object) -> WaveEvidence:
    counters = {"size": 2, "offered": 2, "committed": 0, "failed": 0, "inconclusive": 0, **values}
    return WaveEvidence(given_up_at=NOW + 30 * MINUTE, problem="pump-0001 failed (golden)", **counters)


def installed(policy: Policy = POLICY, **values: object):
    return installed_verdict(evidence(**values), policy)


def shares(*, min_success: float = 0.95, max_failure: float = 0.05, min_devices: int = 1) -> Policy:
    return Policy(min_success=min_success, max_failure=max_failure, min_devices=min_devices)


# -- installed -----------------------------------------------------------------------------


def test_every_asked_device_committed_and_it_says_so():
    assert installed(committed=2) == Pass("2 of 2 devices committed after 20 inferences each")


def test_one_device_alone_is_told_in_the_singular():
    assert installed(size=1, offered=1, committed=1) == Pass("1 of 1 device committed after 20 inferences")


def test_devices_that_were_offline_do_not_block_and_are_told():
    verdict = installed(size=5, committed=2)
    assert isinstance(verdict, Pass)
    assert verdict.reason.endswith("; 3 devices not asked yet (offline, pinned or quarantined)")


def test_a_wave_waits_for_the_last_device_whatever_the_clock_says():
    verdict = installed(committed=1)
    assert isinstance(verdict, Wait)
    assert not verdict.is_over(NOW + timedelta(days=365))
    assert verdict.reason == "1 of 2 devices committed"


def test_one_failure_of_two_fails_the_wave():
    assert installed(committed=1, failed=1) == Fail("1 of 2 devices did not keep the model: pump-0001 failed (golden)")


@pytest.mark.parametrize(("failed", "fails"), [(0, False), (5, False), (6, True)])
def test_as_many_may_fail_as_the_policy_says_of_those_that_were_asked(failed, fails):
    verdict = installed(size=200, offered=100, committed=100 - failed, failed=failed)
    assert isinstance(verdict, Fail) is fails
    assert isinstance(verdict, Pass) is not fails


def test_a_failure_of_many_stops_before_the_others_have_ended():
    assert isinstance(installed(size=100, offered=10, failed=1), Fail)
    assert isinstance(installed(size=100, offered=20, failed=1), Wait)


def test_a_spare_wave_in_which_nobody_can_be_asked_passes_when_its_time_is_over():
    nobody = evidence(offered=0, is_spare=True)
    given_up = NOW + 30 * MINUTE
    assert isinstance(wave_verdict(nobody, POLICY, None, given_up - MINUTE), Wait)
    verdict = wave_verdict(nobody, POLICY, None, given_up)
    assert isinstance(verdict, Pass)
    assert verdict.reason.startswith("none of 2 devices could be asked: offline, pinned, ")
    assert verdict.reason.endswith("so who comes is asked then and judged by itself")
    assert isinstance(wave_verdict(evidence(offered=0), POLICY, None, given_up), Wait), "another one proves something"
    left = evidence(offered=0, is_spare=True, bakes_since=NOW)
    assert isinstance(wave_verdict(left, POLICY, OPEN, given_up), Wait), "it was asked, and lost its devices since"


def test_what_is_lost_of_the_control_share_takes_the_model_from_nobody_but_harm_does():
    lost = evidence(size=1, offered=1, failed=1, is_control=True)
    verdict = wave_verdict(lost, POLICY, None, NOW)
    assert isinstance(verdict, Wait)
    assert verdict.is_over(NOW)
    assert verdict.reason == (
        "1 of 1 device did not keep the model: pump-0001 failed (golden); the waves before it passed, so a person decides"
    )
    harmful = evidence(size=40, offered=40, committed=40, is_control=True)
    assert isinstance(wave_verdict(harmful, POLICY, ILL, NOW), Fail)
    both = evidence(size=2, offered=2, committed=1, failed=1, is_control=True)
    assert wave_verdict(both, POLICY, ILL, NOW) == Fail("not healthy: p95 41 ms against 12 ms")


def test_no_share_is_judged_before_enough_devices_have_ended():
    policy = shares(min_devices=3)
    assert isinstance(installed(policy, size=5, offered=5, failed=2), Wait)
    assert isinstance(installed(policy, size=5, offered=5, failed=2, committed=1), Fail)
    assert isinstance(installed(policy, size=2, offered=2, failed=2), Fail), "a wave cannot have more than it has"


def test_a_wave_of_which_too_few_could_be_asked_waits_until_it_is_given_up():
    verdict = installed(shares(min_devices=3), size=5, offered=2, committed=2)
    assert isinstance(verdict, Wait)
    assert not verdict.is_over(NOW + 29 * MINUTE)
    assert verdict.is_over(NOW + 30 * MINUTE)


def test_a_device_that_runs_something_else_later_is_lost_as_well():
    assert isinstance(installed(size=20, offered=20, committed=18, failed=1, regressed=1), Fail)
    assert isinstance(installed(size=40, offered=40, committed=38, failed=1, regressed=1), Pass)


def test_doubt_is_no_failure_and_no_pass_but_the_end_of_waiting():
    verdict = installed(committed=1, inconclusive=1)
    assert isinstance(verdict, Wait)
    assert verdict.is_over(NOW)
    assert "no proof from 1 of 2 devices: pump-0001" in verdict.reason


def test_the_least_success_counts_of_those_that_were_asked():
    policy = shares(min_success=0.5, max_failure=0.5)
    assert isinstance(installed(policy, size=4, offered=4, committed=2, inconclusive=2), Pass)
    assert isinstance(installed(policy, size=4, offered=4, committed=1, inconclusive=3), Wait)


def test_a_wave_in_which_nobody_could_be_asked_never_passes():
    verdict = installed(offered=0)
    assert isinstance(verdict, Wait)
    words = "offline, pinned, quarantined, removed, held back, taken over, or not fit for the model"
    assert verdict.reason == f"none of 2 devices could be asked: {words}"
    assert not verdict.is_over(NOW + 29 * MINUTE)
    assert verdict.is_over(NOW + 30 * MINUTE)


# -- baked and healthy -----------------------------------------------------------------------


def baking(minutes: float, health, **values: object):
    state = evidence(bakes_since=NOW, **{"committed": 2, **values})
    return wave_verdict(state, POLICY, health, NOW + minutes * MINUTE)


def test_installed_is_not_good_enough_without_a_bake():
    verdict = wave_verdict(evidence(committed=2), POLICY, None, NOW)
    assert isinstance(verdict, Wait)
    assert not verdict.is_over(NOW + timedelta(days=365))


def test_a_wave_that_is_well_passes_when_its_bake_is_over_and_not_before():
    early = baking(9.9, WELL)
    assert isinstance(early, Wait)
    assert "bakes until 12:10:00 UTC" in early.reason
    assert baking(10, WELL) == Pass(
        "proof: installed and healthy: 2 of 2 devices committed after 20 inferences each; well"
    )


@pytest.mark.parametrize("minutes", [0, 5, 10, 69])
def test_a_wave_that_is_ill_fails_at_once(minutes):
    assert baking(minutes, ILL) == Fail("not healthy: p95 41 ms against 12 ms")


def test_harm_needs_no_bake_and_no_device_that_is_still_at_it():
    assert wave_verdict(evidence(committed=1), POLICY, ILL, NOW) == Fail("not healthy: p95 41 ms against 12 ms")
    assert wave_verdict(evidence(committed=1), POLICY, WELL, NOW) == Wait(FOREVER, "1 of 2 devices committed")
    assert wave_verdict(evidence(committed=1), POLICY, OPEN, NOW) == Wait(FOREVER, "1 of 2 devices committed")
    left = evidence(offered=0, is_spare=True, size=1)
    assert wave_verdict(left, POLICY, ILL, NOW + 30 * MINUTE) == Fail("not healthy: p95 41 ms against 12 ms")


def test_devices_that_were_lost_are_told_before_what_the_others_show():
    assert baking(1, ILL, committed=1, failed=1).reason.startswith("1 of 2 devices did not keep the model")


def test_a_wave_without_enough_evidence_waits_and_then_a_person_decides():
    waiting = baking(69.9, OPEN)
    assert isinstance(waiting, Wait)
    assert waiting.reason == "insufficient evidence: 3 of 200 inputs"
    assert not waiting.is_over(NOW + 69.9 * MINUTE)
    assert waiting.is_over(NOW + 70 * MINUTE)


def test_before_the_bake_is_over_missing_evidence_is_no_news():
    assert "bakes until" in baking(9, OPEN).reason


def test_a_wave_that_loses_devices_while_it_bakes_fails():
    assert isinstance(baking(10, WELL, committed=1, regressed=1), Fail)


def test_a_wave_that_bakes_and_has_too_few_left_does_not_pass():
    verdict = baking(10, WELL, committed=1, inconclusive=1)
    assert isinstance(verdict, Wait)


# -- alone ------------------------------------------------------------------------------------


def alone(health, minutes: float):
    return alone_verdict(health, baked_at=NOW + 10 * MINUTE, given_up_at=NOW + 70 * MINUTE, now=NOW + minutes * MINUTE)


def test_a_device_that_came_late_passes_the_same_gate():
    assert isinstance(alone(WELL, 9.9), Wait)
    assert alone(WELL, 10) == Pass("well")
    assert alone(ILL, 0) == Fail("not healthy: p95 41 ms against 12 ms")


def test_a_device_that_came_late_and_shows_nothing_is_taken_back():
    assert alone(OPEN, 69.9) == Wait(NOW + 70 * MINUTE, "3 of 200 inputs")
    assert alone(OPEN, 70) == Fail("insufficient evidence: 3 of 200 inputs")


@pytest.mark.parametrize(
    ("proof", "enough"),
    [
        (Proof(), False),
        (Proof(committed=True), False),
        (Proof(inferences=20), False),
        (Proof(committed=True, inferences=19), False),
        (Proof(committed=True, inferences=20, errors=1), False),
        (Proof(committed=True, inferences=20), True),
        (Proof(committed=True, inferences=500), True),
    ],
)
def test_proof_is_a_commit_and_enough_inferences_without_error(proof, enough):
    assert proof.is_enough(POLICY) is enough


def test_a_policy_survives_the_database():
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(POLICY)), Policy) == POLICY
