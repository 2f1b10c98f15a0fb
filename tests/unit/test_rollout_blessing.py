"""What a benchmark is worth, what a rollout lacks of blessings, and whom the server asks."""

import pytest
from msgspec.structs import replace

from edgeops import limits
from edgeops.artifact.manifest import Budgets
from edgeops.protocol.messages import Benchmarked, Reason
from edgeops.rollout.blessing import (
    Blessed,
    ClassStanding,
    Demand,
    Outcome,
    Refusing,
    Unblessed,
    blessing_verdict,
    device_class,
    judge_benchmark,
    whom_to_ask,
)
from edgeops.rollout.rollout import RolloutEvent, RolloutState, beginning

BUDGETS = Budgets(p95_latency_ms=10.0, memory_bytes=32 * 2**20)
WELL = Benchmarked(
    benchmark="bench-1", digest=bytes(32), reason=Reason.NONE, detail="8 golden vectors answered",
    arch="aarch64", runtime="litert", runtime_version="2.3", board="Raspberry Pi 4 Model B", inferences=1_000,
    latency_p50_us=4_000, latency_p95_us=10_000, latency_p99_us=15_000, memory_bytes=32 * 2**20,
)  # fmt: skip
PI = ClassStanding(device_class="aarch64 / litert / Pi", devices=("pi-1", "pi-2"), online=("pi-2",))
PC = ClassStanding(device_class="x86_64 / litert", devices=("pc-1",), online=("pc-1",))
COMMAND = "edgeops benchmark gas@1 --variant int8 --device DEVICE"


def standing(one=PI, **changes):
    values = {name: getattr(one, name) for name in ClassStanding.__slots__}
    return ClassStanding(**values | changes)


def verdict(*standings, demand=Demand.REQUIRED):
    return blessing_verdict(demand, standings, command=COMMAND)


def test_a_class_is_what_devices_report_as_far_as_they_do():
    assert device_class("aarch64", "litert", "Raspberry Pi 4 Model B") == "aarch64 / litert / Raspberry Pi 4 Model B"
    assert device_class("x86_64", "litert", "") == "x86_64 / litert"


def test_a_model_within_its_budgets_is_blessed_also_on_their_border():
    judged = judge_benchmark(WELL, BUDGETS)
    assert (judged.outcome, judged.words) == (Outcome.BLESSED, "8 golden vectors answered; p95 10 ms, 32.0 MiB")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latency_p95_us": 10_001}, "95 % of the answers take up to 10.001 ms, 10 ms may"),
        (
            {"latency_p95_us": 20_000, "throttled": True},
            "up to 20 ms, while its processor was held back by heat or power, 10 ms may",
        ),
        ({"memory_bytes": 33 * 2**20}, "it takes 33.0 MiB of memory, 32.0 MiB may"),
        ({"latency_p95_us": 20_000, "memory_bytes": 2**30}, "10 ms may; it takes 1024.0 MiB"),
        ({"reason": Reason.GOLDEN, "detail": "golden vector 3 differs"}, "golden: golden vector 3 differs"),
        ({"reason": Reason.PROBE, "detail": "hung"}, "probe: hung"),
        ({"reason": Reason.INCOMPATIBLE, "detail": "arch"}, "incompatible: arch"),
    ],
)
def test_a_model_that_is_slow_large_wrong_or_a_misfit_is_refused(changes, words):
    judged = judge_benchmark(replace(WELL, **changes), BUDGETS)
    assert judged.outcome is Outcome.REFUSED
    assert words in judged.words


@pytest.mark.parametrize(
    "reason", sorted(set(Reason) - {Reason.NONE, Reason.GOLDEN, Reason.PROBE, Reason.INCOMPATIBLE})
)
def test_what_kept_a_model_from_being_tried_says_nothing_of_it(reason):
    assert judge_benchmark(replace(WELL, reason=reason), BUDGETS).outcome is Outcome.INCONCLUSIVE


def test_a_rollout_that_demands_nothing_begins():
    assert verdict(PI, standing(outcome=Outcome.REFUSED), demand=Demand.NONE) == Blessed()


@pytest.mark.parametrize("demand", [Demand.REQUIRED, Demand.AUTO])
def test_a_rollout_begins_when_each_class_has_blessed(demand):
    blessed = [standing(one, outcome=Outcome.BLESSED) for one in (PI, PC)]
    assert verdict(*blessed, demand=demand) == Blessed()
    assert isinstance(verdict(blessed[0], PC, demand=demand), Unblessed)


def test_a_class_that_lacks_a_benchmark_is_named_with_the_command_that_makes_it():
    told = verdict(PI, standing(PC, outcome=Outcome.BLESSED))
    assert told.words == (
        "no device of class aarch64 / litert / Pi has blessed the model:"
        " edgeops benchmark gas@1 --variant int8 --device pi-2"
    )


def test_a_refusal_outweighs_what_is_missing():
    told = verdict(PC, standing(outcome=Outcome.REFUSED, words="it takes 33.0 MiB"))
    assert told == Refusing("a device of class aarch64 / litert / Pi did not bless the model: it takes 33.0 MiB")


def test_one_that_was_asked_is_waited_for():
    told = verdict(standing(is_asked=True))
    assert told == Unblessed("no device of class aarch64 / litert / Pi has blessed the model; one is asked")


def test_of_many_classes_some_are_named():
    many = [standing(device_class=f"class-{number}") for number in range(limits.NAMED_IN_ERRORS + 2)]
    assert verdict(*many).words.endswith("; and 2 more")


def test_a_server_that_asks_says_so_until_it_has_tried_often_enough():
    assert "one is asked when it is online, as pi-2" in verdict(PI, demand=Demand.AUTO).words
    tried = standing(vain=limits.BLESSING_ATTEMPTS, vain_words="disk: no space")
    assert verdict(tried, demand=Demand.AUTO).words.endswith(
        "(the last benchmark: disk: no space): edgeops benchmark gas@1 --variant int8 --device pi-2"
    )


def test_one_device_of_each_class_is_asked():
    assert whom_to_ask(Demand.AUTO, [PI, PC]) == ("pi-2", "pc-1")
    assert whom_to_ask(Demand.REQUIRED, [PI, PC]) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.BLESSED},
        {"outcome": Outcome.REFUSED},
        {"is_asked": True},
        {"online": ()},
        {"vain": limits.BLESSING_ATTEMPTS},
    ],
)
def test_nobody_is_asked_twice_in_vain_or_while_away(changes):
    assert whom_to_ask(Demand.AUTO, [standing(**changes)]) == ()


def test_after_a_benchmark_that_said_nothing_another_device_is_asked():
    both = {"online": ("pi-1", "pi-2")}
    asked = [whom_to_ask(Demand.AUTO, [standing(vain=vain, **both)]) for vain in range(3)]
    assert asked == [("pi-1",), ("pi-2",), ("pi-1",)]


@pytest.mark.parametrize(
    ("blessing", "state", "event"),
    [
        (Blessed(), "scheduled", RolloutEvent.START),
        (Blessed(), "awaiting-blessing", RolloutEvent.START),
        (Unblessed("why"), "scheduled", RolloutEvent.AWAIT_BLESSING),
        (Unblessed("why"), "awaiting-blessing", None),
        (Refusing("why"), "scheduled", RolloutEvent.BLESSING_REFUSED),
        (Refusing("why"), "awaiting-blessing", RolloutEvent.BLESSING_REFUSED),
    ],
)
def test_what_blessings_mean_for_a_rollout_whose_time_has_come(blessing, state, event):
    assert beginning(RolloutState(state), blessing) is event
