"""What a person who watches a rollout is told."""

from datetime import UTC, datetime

import pytest

from edgeops.api.shapes import Installation, Rollout, Wave
from edgeops.cli.watch import Change, changes, follow_rollout, require_good_end, standing
from edgeops.exits import RolloutEndedBadlyError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64


def rollout(state="running", *, reason="", waves=(), waits_for="") -> Rollout:
    return Rollout(
        id="rollout-1", model="digits", version=1, variant="int8", digest=DIGEST, target="models/digits/1-int8.json",
        deployment="digits", selector="all", intent="improve", policy={}, state=state, reason=reason, wave=0,
        revision=1, created_by="me", created_at=NOW, finished_at=None if state == "running" else NOW, waves=waves,
        waits_for=waits_for,
    )  # fmt: skip


def installation(device, state, *, wave=0, evidence=None, reason="", detail="") -> Installation:
    return Installation(
        id=f"installation-{device}", rollout_id="rollout-1", wave=wave, device_id=device, deployment="digits",
        digest=DIGEST, state=state, evidence=evidence, reason=reason, detail=detail, updated_at=NOW,
    )  # fmt: skip


def first_wave(*, finished=False) -> Wave:
    return Wave(position=0, size=1, committed=int(finished), started_at=NOW, finished_at=NOW if finished else None)


def test_the_first_look_names_the_rollout_and_its_running_wave():
    lines = changes(
        None, rollout(waves=(first_wave(), Wave(position=1, size=3))), [installation("camera-1", "offered")]
    )
    assert lines == [
        "rollout rollout-1: digits@1 int8 to deployment digits of all",
        "wave 1 of 2: 1 device",
        "  camera-1  offered",
    ]


def test_only_what_is_new_is_told():
    before = rollout(waves=(first_wave(),))
    seen = Change(before, (installation("camera-1", "installing"),), ())
    assert changes(seen, before, [installation("camera-1", "installing")]) == []
    evidence = {"inferences": 20, "errors": 0}
    lines = changes(
        seen, rollout(waves=(first_wave(finished=True),)), [installation("camera-1", "committed", evidence=evidence)]
    )
    assert lines == ["  camera-1  committed  20 inferences, 0 errors", "wave 1 of 1: 1 of 1 committed"]


def test_a_device_that_refused_says_why():
    seen = Change(rollout(waves=(first_wave(),)), (), ())
    lines = changes(
        seen, rollout("failed", reason="1 of 1 rejected", waves=(first_wave(),)),
        [installation("camera-1", "rejected", reason="not-listed", detail="absent from TUF metadata")],
    )  # fmt: skip
    assert lines == ["  camera-1  rejected  absent from TUF metadata", "failed: 1 of 1 rejected"]


def test_a_finished_rollout_claims_what_it_has_proof_of_and_no_more():
    seen = Change(rollout(waves=(first_wave(finished=True),)), (installation("camera-1", "committed"),), ())
    done = rollout("finished", waves=(first_wave(finished=True),))
    assert changes(seen, done, [installation("camera-1", "committed")]) == [
        "finished: proof: installed and healthy on 1 of 1 device"
    ]


def test_a_device_that_was_asked_twice_is_counted_once():
    first = installation("camera-1", "inconclusive").model_copy(update={"id": "installation-0"})
    done = rollout("finished", waves=(first_wave(finished=True),))
    told = changes(None, done, [first, installation("camera-1", "committed")])
    assert told[-1] == "finished: proof: installed and healthy on 1 of 1 device"


def test_a_rollout_that_a_person_let_pass_claims_no_proof_and_says_who_did():
    words = "passed without proof, advanced by me: I saw it"
    advanced = first_wave(finished=True).model_copy(
        update={"override": {"by": "me", "remark": "I saw it"}, "verdict": {"verdict": "override", "reason": words}}
    )
    proven = Wave(position=1, size=1, committed=1, started_at=NOW, finished_at=NOW)
    done = rollout("finished", reason="proof: installed and healthy: 1 of 1", waves=(advanced, proven))
    assert changes(None, done, [])[-1] == f"finished: wave 1 {words}"


@pytest.mark.parametrize("state", ["failed", "aborted", "paused"])
def test_a_bad_end_is_an_error_with_its_reason(state):
    with pytest.raises(RolloutEndedBadlyError, match="because"):
        require_good_end(rollout(state, reason="because"))


def test_a_rollout_without_a_reason_says_what_it_waits_for():
    waits = rollout("awaiting-approval", waits_for="an approver, who approves or denies it")
    assert standing(waits) == "waits for an approver, who approves or denies it"
    assert changes(None, waits, [])[-1] == "awaiting-approval: waits for an approver, who approves or denies it"
    assert standing(rollout("paused", reason="paused by ada", waits_for="a person")) == "paused by ada"


@pytest.mark.parametrize("state", ["draft", "awaiting-approval", "live", "finished"])
def test_who_waits_for_a_person_to_let_it_begin_has_not_ended_badly(state):
    require_good_end(rollout(state, waits_for="a person"))


class Asked:
    """A server whose rollout goes on with each question; it counts how often its devices were asked for."""

    def __init__(self, *courses):
        self.courses = list(courses)
        self.asked_for_devices = 0

    def rollout(self, _):
        return self.courses.pop(0) if len(self.courses) > 1 else self.courses[0]

    def installations(self, _):
        self.asked_for_devices += 1
        return iter([installation("camera-1", "offered")])


def course(size):
    """Nothing moves for a while, then a device commits, then nothing moves until it ends."""
    quiet = rollout(waves=(Wave(position=0, size=size, started_at=NOW),))
    moved = rollout(waves=(Wave(position=0, size=size, started_at=NOW, committed=1),))
    return Asked(quiet, quiet, quiet, moved, moved, rollout("failed", reason="because", waves=moved.waves))


def test_the_devices_of_a_large_rollout_are_asked_for_when_its_counters_moved():
    client, pauses = course(10_000), []
    *_, last = follow_rollout(client, "rollout-1", pause=pauses.append)
    assert last.lines == ("failed: because",)
    assert client.asked_for_devices == 3
    assert pauses == [1.0] * 5


def test_the_devices_of_a_small_rollout_are_asked_for_each_time():
    client = course(100)
    assert list(follow_rollout(client, "rollout-1", pause=lambda _: None))[-1].lines == ("failed: because",)
    assert client.asked_for_devices == 6
