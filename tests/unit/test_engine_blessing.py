"""A rollout that demands blessings asks nobody before one device of each class has tried the model."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.protocol.messages import Benchmark, Benchmarked, Command, DeploymentState, Reason, UpdateState, decode
from edgeops.protocol.topics import DownKind
from edgeops.rollout.blessing import Outcome
from edgeops.rollout.policy import of_undo
from edgeops.rollout.rollout import RolloutState as R
from fleet_server import blessings
from fleet_server.db import benchmarks, models, outbox
from tests.unit.engine_rig import FACTS, QUICK, Fleet, digest_of

REQUIRED = replace(QUICK, require_blessing="required")
AUTO = replace(QUICK, require_blessing="auto")
PI = replace(FACTS, arch="aarch64", board="Raspberry Pi 4 Model B")
RUNS = DeploymentState(deployment="gas", state=UpdateState.IDLE)
#: Within the budgets of the tiny model.
WELL = {"latency_p95_us": 900, "memory_bytes": 2**20, "inferences": 1_000}


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, size=3)
    yield fleet
    fleet.close()


def ask(fleet, device_id="dev-0", version=1):
    with fleet.database.write() as connection:
        return blessings.ask(connection, device_id, digest_of(version), asked_by="me", now=fleet.now)


def open_ones(fleet, version=1):
    with fleet.database.read() as connection:
        return [one for one in benchmarks.of_digest(connection, digest_of(version)) if one.ended_at is None]


def all_ones(fleet, version=1):
    with fleet.database.read() as connection:
        return benchmarks.of_digest(connection, digest_of(version))


def answer(fleet, one, *, facts=FACTS, reason=Reason.NONE, detail="", **measured):
    told = Benchmarked(
        benchmark=one.id,
        digest=digest_raw(one.digest),
        reason=reason,
        detail=detail,
        arch=facts.arch,
        runtime=facts.runtime,
        runtime_version=facts.runtime_version,
        board=facts.board,
        **(measured or WELL),
    )
    with fleet.database.write() as connection:
        blessings.take(connection, told, fleet.now)
    tick(fleet)


def tick(fleet, seconds=1):
    fleet.wait(timedelta(seconds=seconds), step=timedelta(seconds=seconds))


def commands(fleet):
    with fleet.database.read() as connection:
        letters = outbox.waiting(connection, limit=1_000)
    return [(one.device_id, decode(one.body, Command)) for one in letters if one.kind is DownKind.COMMAND]


def wanted(fleet):
    return [fleet.desired_digest(one) for one in fleet.ids]


def test_an_unblessed_rollout_waits_asks_nobody_and_names_the_command(fleet):
    rollout_id = fleet.roll_out(policy=REQUIRED)
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.AWAITING_BLESSING
    assert "edgeops benchmark gas@1 --variant int8 --device dev-0" in rollout.reason
    assert wanted(fleet) == [None] * 3
    assert commands(fleet) == []


def test_it_begins_once_its_class_has_blessed(fleet):
    rollout_id = fleet.roll_out(policy=REQUIRED)
    answer(fleet, ask(fleet, "dev-2"))
    rollout = fleet.rollout(rollout_id)
    assert (rollout.state, rollout.reason) == (R.RUNNING, "")
    assert wanted(fleet).count(digest_of(1)) == 1


def test_a_blessing_counts_for_every_later_rollout_of_the_same_file(fleet):
    answer(fleet, ask(fleet))
    assert fleet.rollout(fleet.roll_out(policy=REQUIRED)).state is R.RUNNING
    assert fleet.rollout(fleet.roll_out(2, policy=REQUIRED)).state is R.AWAITING_BLESSING


def test_each_class_has_to_bless_for_itself(fleet):
    fleet.report("dev-2", RUNS, facts=PI)
    rollout_id = fleet.roll_out(policy=REQUIRED)
    answer(fleet, ask(fleet, "dev-0"))
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.AWAITING_BLESSING
    assert rollout.reason.startswith("no device of class aarch64 / litert / Raspberry Pi 4 Model B has blessed")
    answer(fleet, ask(fleet, "dev-2"), facts=PI)
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_a_class_counts_by_what_the_device_was_when_it_tried(fleet):
    rollout_id = fleet.roll_out(policy=REQUIRED)
    answer(fleet, ask(fleet), facts=PI)
    assert fleet.rollout(rollout_id).state is R.AWAITING_BLESSING


def test_a_refusal_fails_the_rollout_with_its_reason(fleet):
    rollout_id = fleet.roll_out(policy=REQUIRED)
    answer(fleet, ask(fleet), reason=Reason.GOLDEN, detail="golden vector 3, output 0: differs by 9")
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.FAILED
    assert "did not bless the model: golden: golden vector 3" in rollout.reason
    assert wanted(fleet) == [None] * 3


def test_a_model_beyond_its_budget_is_not_blessed(fleet):
    answer(fleet, ask(fleet), latency_p95_us=60_000, memory_bytes=1, inferences=1_000)
    assert [one.outcome for one in all_ones(fleet)] == [Outcome.REFUSED]
    assert fleet.rollout(fleet.roll_out(policy=REQUIRED)).state is R.FAILED


def test_a_newer_benchmark_takes_the_place_of_an_older_one(fleet):
    answer(fleet, ask(fleet), reason=Reason.PROBE, detail="hung")
    tick(fleet)
    answer(fleet, ask(fleet, "dev-1"))
    assert fleet.rollout(fleet.roll_out(policy=REQUIRED)).state is R.RUNNING


def test_a_benchmark_that_could_not_be_made_says_nothing(fleet):
    rollout_id = fleet.roll_out(policy=REQUIRED)
    answer(fleet, ask(fleet), reason=Reason.DISK, detail="no space")
    assert fleet.rollout(rollout_id).state is R.AWAITING_BLESSING


def test_where_the_server_asks_the_rollout_begins_by_itself(fleet):
    rollout_id = fleet.roll_out(policy=AUTO)
    ((device_id, command),) = commands(fleet)
    assert command.request.digest == digest_of(1)
    assert isinstance(command.request, Benchmark)
    assert command.request.deployment == "gas"
    (one,) = open_ones(fleet)
    assert (one.id, one.device_id, one.asked_by) == (command.command, device_id, rollout_id)
    assert "one is asked" in fleet.rollout(rollout_id).reason
    answer(fleet, one)
    assert fleet.rollout(rollout_id).state is R.RUNNING


def test_after_a_vain_benchmark_the_server_asks_another_device(fleet):
    fleet.roll_out(policy=AUTO)
    (first,) = open_ones(fleet)
    answer(fleet, first, reason=Reason.FETCH, detail="no block came")
    (second,) = open_ones(fleet)
    assert second.device_id != first.device_id


def test_the_server_asks_no_more_than_a_few_times(fleet):
    rollout_id = fleet.roll_out(policy=AUTO)
    for _ in range(limits.BLESSING_ATTEMPTS):
        answer(fleet, open_ones(fleet)[0], reason=Reason.FETCH, detail="no block came")
    assert open_ones(fleet) == []
    assert "edgeops benchmark gas@1" in fleet.rollout(rollout_id).reason


def test_an_offline_device_is_asked_when_it_comes(fleet):
    fleet.go("dev-0")
    one = ask(fleet)
    assert (commands(fleet), one.repeated_at) == ([], None)
    fleet.come("dev-0")
    tick(fleet)
    ((device_id, command),) = commands(fleet)
    assert (device_id, command.command) == ("dev-0", one.id)


def test_nobody_is_asked_while_all_are_away(fleet):
    for device_id in fleet.ids:
        fleet.go(device_id)
    rollout_id = fleet.roll_out(policy=AUTO)
    assert open_ones(fleet) == []
    fleet.come("dev-1")
    tick(fleet)
    assert [one.device_id for one in open_ones(fleet)] == ["dev-1"]
    assert fleet.rollout(rollout_id).state is R.AWAITING_BLESSING


def test_one_that_does_not_answer_is_asked_again_under_the_same_name_and_then_given_up(fleet):
    one = ask(fleet)
    fleet.wait(limits.BENCHMARK_RETRY_AFTER * 6)
    asked = commands(fleet)
    assert len(asked) > 2
    assert {command.command for _, command in asked} == {one.id}
    left = [command.request.within_ms for _, command in asked]
    assert left == sorted(left, reverse=True)
    fleet.wait(limits.BENCHMARK_LIFE)
    (ended,) = all_ones(fleet)
    assert ended.outcome is Outcome.INCONCLUSIVE
    assert "it was asked and did not answer" in ended.detail


def test_an_answer_that_comes_late_still_counts_once(fleet):
    one = ask(fleet)
    fleet.wait(limits.BENCHMARK_LIFE + limits.BENCHMARK_RETRY_AFTER)
    answer(fleet, one)
    answer(fleet, one, reason=Reason.GOLDEN, detail="repeated")
    assert [one.outcome for one in all_ones(fleet)] == [Outcome.BLESSED]


def test_a_device_that_is_to_try_it_already_is_not_asked_twice(fleet):
    assert ask(fleet).id == ask(fleet).id


def test_a_rollout_that_nobody_blesses_ends_at_its_deadline(fleet):
    rollout_id = fleet.roll_out(policy=replace(REQUIRED, blessing_timeout=timedelta(minutes=5)))
    fleet.wait(timedelta(minutes=4))
    assert fleet.rollout(rollout_id).state is R.AWAITING_BLESSING
    fleet.wait(timedelta(minutes=2))
    rollout = fleet.rollout(rollout_id)
    assert rollout.state is R.ABORTED
    assert rollout.reason.startswith("not blessed in time: no device of class x86_64 / litert has blessed")


def test_what_runs_meanwhile_goes_on(fleet):
    fleet.bring(1)
    newer = fleet.roll_out(2, policy=REQUIRED)
    assert fleet.rollout(newer).state is R.AWAITING_BLESSING
    assert wanted(fleet) == [digest_of(1)] * 3


def test_a_person_may_end_it_and_a_withdrawal_does(fleet):
    aborted, withdrawn = (fleet.roll_out(version, policy=REQUIRED) for version in (1, 2))
    fleet.abort(aborted)
    fleet.withdraw(2)
    fleet.run()
    assert [fleet.rollout(one).state for one in (aborted, withdrawn)] == [R.ABORTED, R.FAILED]


def test_a_device_that_became_another_is_not_asked_unless_its_class_has_blessed(fleet):
    answer(fleet, ask(fleet))
    rollout_id = fleet.roll_out(policy=REQUIRED)
    fleet.report("dev-2", RUNS, facts=PI)
    canary = next(one for one, state in fleet.states(rollout_id).items() if state != "pending")
    fleet.commit(canary)
    assert fleet.desired_digest("dev-2") is None
    assert "no device of class aarch64" in fleet.installations(rollout_id)["dev-2"].detail


def test_a_device_that_joins_a_live_rollout_blesses_first(fleet):
    answer(fleet, ask(fleet))
    rollout_id = fleet.roll_out(policy=AUTO, continuous=True, waves=("100%",))
    for device_id in list(fleet.ids):
        fleet.commit(device_id)
    assert fleet.rollout(rollout_id).state is R.LIVE
    fleet.enrol("pi-1", facts=PI)
    fleet.run()
    (one,) = open_ones(fleet)
    assert (one.device_id, fleet.desired_digest("pi-1")) == ("pi-1", None)
    answer(fleet, one, facts=PI)
    fleet.report("pi-1", RUNS, facts=PI)
    tick(fleet)
    assert fleet.desired_digest("pi-1") == digest_of(1)


def test_an_undo_waits_for_no_benchmark():
    assert of_undo(AUTO).require_blessing == "none"


def test_a_result_belongs_to_the_run_of_its_version(fleet):
    answer(fleet, ask(fleet))
    with fleet.database.read() as connection:
        run_id = models.get_version(connection, "gas", 1).run_id
        (one,) = benchmarks.of_run(connection, run_id)
    assert one.result["latency_p95_us"] == 900
    assert (one.model, one.version, one.variant) == ("gas", 1, "int8")
