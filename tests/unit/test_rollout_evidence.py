"""The gate before the next wave."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeops.rollout.evidence import Fail, Pass, Proof, Wait, WaveEvidence, wave_verdict
from edgeops.rollout.policy import Policy

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY = Policy(trial_inferences=20, offer_timeout=timedelta(minutes=15), wave_timeout=timedelta(minutes=30))


def evidence(**counters: int) -> WaveEvidence:
    values = {"size": 2, "offered": 2, "committed": 0, "failed": 0, "inconclusive": 0, **counters}
    return WaveEvidence(started_at=NOW, problem="pump-0001 failed (golden)", **values)


def test_a_wave_passes_when_every_asked_device_committed_and_says_what_that_proves():
    assert wave_verdict(evidence(committed=2), POLICY, NOW) == Pass(
        "proof: installed and running: 2 of 2 devices committed after 20 inferences each"
    )


def test_one_device_alone_is_told_in_the_singular():
    verdict = wave_verdict(evidence(size=1, offered=1, committed=1), POLICY, NOW)
    assert verdict == Pass("proof: installed and running: 1 of 1 device committed after 20 inferences")


def test_devices_that_were_offline_do_not_block_and_are_told():
    verdict = wave_verdict(evidence(size=5, committed=2), POLICY, NOW)
    assert isinstance(verdict, Pass)
    assert verdict.reason.endswith("; 3 devices not asked yet (offline)")


def test_a_wave_waits_for_the_last_device():
    verdict = wave_verdict(evidence(committed=1), POLICY, NOW)
    assert verdict == Wait(NOW + POLICY.offer_timeout, "1 of 2 devices committed")
    assert not verdict.is_over(NOW)


def test_one_failure_fails_the_wave_whatever_the_others_did():
    verdict = wave_verdict(evidence(committed=1, failed=1, inconclusive=1), POLICY, NOW)
    assert verdict == Fail("1 of 2 devices did not keep the model: pump-0001 failed (golden)")


def test_doubt_is_no_failure_and_no_pass_but_the_end_of_waiting():
    verdict = wave_verdict(evidence(committed=1, inconclusive=1), POLICY, NOW)
    assert isinstance(verdict, Wait)
    assert verdict.is_over(NOW)
    assert "no proof from 1 of 2 devices" in verdict.reason


def test_a_wave_in_which_nobody_could_be_asked_never_passes():
    verdict = wave_verdict(evidence(offered=0), POLICY, NOW)
    assert isinstance(verdict, Wait)
    assert not verdict.is_over(NOW + timedelta(minutes=29))
    assert verdict.is_over(NOW + timedelta(minutes=30))


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
