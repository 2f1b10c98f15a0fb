"""The words of rollouts that are stored, sent and shown: they are never renamed; and what holds where nothing is said."""

from enum import StrEnum

import pytest

from edgeops.rollout import deviation, hindrance
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.conditions import Operator
from edgeops.rollout.evidence import Proof
from edgeops.rollout.health.belonging import Belonging
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.installation import InstallationCommand, InstallationEvent, InstallationState, Lasting
from edgeops.rollout.objection import Fault
from edgeops.rollout.rollout import RolloutCommand, RolloutEvent, RolloutState
from edgeops.rollout.targeting import Standing


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            RolloutState,
            (
                "draft awaiting-approval denied scheduled awaiting-blessing running paused aborted rolling-back "
                "rolled-back finished finished-with-regressions failed live"
            ),
        ),
        (
            RolloutEvent,
            (
                "ask-approval submit approve deny await-blessing blessing-refused start devices-ready wave-passed "
                "last-wave-passed wave-failed evidence-missing pause resume resume-live advance advance-last go-live abort roll-back taken-back regressed "
                "retry superseded model-withdrawn expire"
            ),
        ),
        (RolloutCommand, "none offer-wave withdraw-offers take-back"),
        (
            InstallationState,
            (
                "pending offered installing committed healthy failed rejected rolled-back inconclusive superseded timed-out "
                "retried regressed"
            ),
        ),
        (
            InstallationEvent,
            (
                "offer progress commit fail reject roll-back doubt turn-away time-out miss retry pass recall regress "
                "withdraw"
            ),
        ),
        (InstallationCommand, "none desire restore"),
        (Lasting, "transient permanent no-end"),
        (
            hindrance.Cause,
            (
                "none unwanted removed quarantine pin incompatible left-out freeze draft approval schedule blessing pause "
                "rolling-back rollout-ended health-gate control bake silence retry-pause max-in-flight rate turn window held device "
                "ended-badly differs"
            ),
        ),
        (deviation.Cause, "no-model fell-back crashed other-model"),
        (Standing, "ready offline taken current pinned incompatible quarantined no-deployment"),
        (Fault, "value unknown state"),
        (Operator, "= != >= <= > <"),
        (Kind, "telemetry answers errors crashes latency memory quality mix estimate"),
        (Sign, "good bad open told"),
        (Belonging, "since past"),
    ],
)
def test_words_stay_as_they_are(words: type[StrEnum], expected):
    assert " ".join(words) == expected


def test_who_has_shown_nothing_has_shown_no_number():
    proof = Proof()
    shown = (proof.inferences, proof.errors, proof.latency_p50_us, proof.latency_p95_us, proof.memory_bytes)
    assert shown == (0, 0, 0, 0, 0)
    assert not proof.committed


def test_a_device_that_has_not_reported_has_no_version():
    assert Candidate(id="pump-0001", name="pump", online=True).agent_version == ""
