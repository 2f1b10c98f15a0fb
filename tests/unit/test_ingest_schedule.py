"""When a block leaves: shared, rate-limited, fair."""

import pytest

from edgeops import limits
from fleet_server.link.schedule import Asked, BlockSchedule
from fleet_server.rates import TokenBucket

DIGEST = "sha256:" + "0" * 64
SIZE = limits.BLOCK_BYTES


def schedule(**rates):
    return BlockSchedule(now_s=0.0, **rates)


def asked(index, device="a"):
    return Asked(DIGEST, index, SIZE, device)


def other(number):
    """A block of a blob that one device alone fetches."""
    return Asked(f"sha256:{number:064x}", number, SIZE, f"device-{number}")


def sent(plan, now_s):
    return [one.index for one in plan.due(now_s)]


def test_many_devices_that_ask_for_a_block_get_one_message():
    plan = schedule()
    for number in range(50):
        assert plan.ask(asked(0, f"device-{number}"), 0.0)
    assert sent(plan, 0.0) == [0]
    assert plan.wait_s(0.0) is None


def test_who_asks_again_just_after_a_block_left_gets_it_when_its_time_has_come():
    plan = schedule()
    plan.ask(asked(0, "a"), 0.0)
    assert sent(plan, 0.0) == [0]
    plan.ask(asked(0, "a"), 0.0)
    assert sent(plan, 0.1) == []
    assert plan.wait_s(0.1) == pytest.approx(0.15)
    assert sent(plan, 0.25) == [0]


def test_all_blocks_together_keep_to_the_rate():
    plan = schedule(rate_bytes_per_s=4 * SIZE)
    for number in range(20):
        plan.ask(other(number), 0.0)
    count, now_s = 0, 0.0
    while (wait_s := plan.wait_s(now_s)) is not None:
        now_s += wait_s + 1e-9
        count += len(plan.due(now_s))
    assert count == 20
    assert now_s == pytest.approx(19 / 4, rel=0.01)


def test_one_greedy_device_does_not_hold_up_another():
    plan = schedule(rate_bytes_per_s_per_device=SIZE)
    for index in range(10):
        plan.ask(asked(index, "greedy"), 0.0)
    plan.ask(other(99), 0.0)
    assert sent(plan, 0.0) == [0, 99]
    assert sent(plan, 0.5) == []
    assert sent(plan, 1.0) == [1]


def test_too_many_waiting_blocks_of_one_device_are_refused():
    plan = schedule()
    taken = [plan.ask(asked(index), 0.0) for index in range(limits.WAITING_BLOCKS_PER_DEVICE + 1)]
    assert taken == [True] * limits.WAITING_BLOCKS_PER_DEVICE + [False]


def test_a_bucket_never_saves_more_than_its_burst():
    bucket = TokenBucket(1000.0, now_s=0.0)
    bucket.take(int(bucket.burst_bytes), 1e6)
    assert bucket.wait_s(1000, 1e6) == pytest.approx(1.0)
    assert bucket.is_full(2e6)


def test_a_block_is_charged_to_all_who_wait_for_it():
    plan = schedule(rate_bytes_per_s_per_device=SIZE)
    for device in ("a", "b"):
        plan.ask(asked(0, device), 0.0)
    assert sent(plan, 0.0) == [0]
    plan.ask(asked(1, "b"), 0.0)
    assert sent(plan, 0.5) == []
    assert sent(plan, 1.0) == [1]


def test_a_block_leaves_as_soon_as_one_who_waits_may_have_it():
    plan = schedule(rate_bytes_per_s_per_device=SIZE)
    plan.ask(asked(0, "spent"), 0.0)
    assert sent(plan, 0.0) == [0]
    plan.ask(asked(1, "spent"), 0.0)
    assert sent(plan, 0.1) == []
    plan.ask(asked(1, "fresh"), 0.0)
    assert plan.wait_s(0.1) == 0.0
    assert sent(plan, 0.1) == [1]


def test_when_the_line_is_full_what_most_wait_for_leaves_first():
    plan = schedule(rate_bytes_per_s=SIZE)
    plan.ask(asked(0, "a"), 0.0)
    assert sent(plan, 0.0) == [0]
    for index, device in ((1, "a"), (2, "a"), (2, "b"), (3, "a"), (3, "b"), (3, "c")):
        plan.ask(asked(index, device), 0.5)
    assert [sent(plan, now_s) for now_s in (1.0, 2.0, 3.0)] == [[3], [2], [1]]


def test_what_waited_too_long_leaves_before_what_more_wait_for():
    plan = schedule(rate_bytes_per_s=SIZE)
    plan.ask(asked(0, "a"), 0.0)
    assert sent(plan, 0.0) == [0]
    plan.ask(asked(1, "a"), 0.0)
    long = limits.BLOCK_LONGEST_WAIT.total_seconds()
    for device in ("b", "c"):
        plan.ask(asked(2, device), long)
    assert sent(plan, long) == [1]


def test_a_block_is_held_back_for_devices_that_come_up_to_it():
    plan = schedule()
    for device in ("a", "b"):
        plan.ask(asked(0, device), 0.0)
    assert sent(plan, 0.0) == [0]
    plan.ask(asked(1, "a"), 0.1)
    assert sent(plan, 0.1) == []
    plan.ask(asked(1, "b"), 0.2)
    assert sent(plan, 0.2) == [1]


def behind(plan, count):
    """So many devices that all got the first block."""
    for number in range(count):
        plan.ask(asked(0, f"device-{number}"), 0.0)
    assert sent(plan, 0.0) == [0]


def test_a_block_is_held_back_until_nobody_has_come_for_its_span():
    plan, span_s = schedule(), limits.BLOCK_GATHER.total_seconds()
    behind(plan, 3)
    plan.ask(asked(1, "device-0"), 0.1)
    assert plan.wait_s(0.1) == pytest.approx(span_s)
    last_s = 0.1 + 0.9 * span_s
    plan.ask(asked(1, "device-1"), last_s)
    assert sent(plan, 0.1 + 1.5 * span_s) == []
    assert plan.wait_s(last_s) == pytest.approx(span_s)
    assert sent(plan, last_s + span_s - 0.01) == []
    assert sent(plan, last_s + span_s + 1e-9) == [1]


def test_who_asks_again_does_not_hold_a_block_back():
    plan, span_s = schedule(), limits.BLOCK_GATHER.total_seconds()
    behind(plan, 2)
    plan.ask(asked(1, "device-0"), 0.0)
    plan.ask(asked(1, "device-0"), 0.9 * span_s)
    assert sent(plan, span_s + 1e-9) == [1]


def test_a_block_is_held_back_no_longer_than_its_longest_wait_whoever_comes():
    plan, longest_s = schedule(), limits.BLOCK_LONGEST_WAIT.total_seconds()
    behind(plan, 100)
    number, now_s = 0, 0.0
    while now_s < longest_s:
        plan.ask(asked(1, f"device-{number}"), now_s)
        assert sent(plan, now_s) == []
        number, now_s = number + 1, now_s + 0.2
    assert number < 100
    assert sent(plan, longest_s) == [1]


def test_who_is_far_ahead_is_not_waited_for_and_waits_for_who_is_behind():
    plan = schedule()
    plan.ask(asked(100, "ahead"), 0.0)
    assert sent(plan, 0.0) == [100]
    plan.ask(asked(0, "behind"), 0.3)
    assert sent(plan, 0.3) == [0]
    plan.ask(asked(101, "ahead"), 0.4)
    assert sent(plan, 0.4) == []


def test_who_asks_no_more_is_not_waited_for():
    plan = schedule()
    plan.ask(asked(0, "gone"), 0.0)
    assert sent(plan, 0.0) == [0]
    later_s = limits.BLOCK_SILENT_AFTER.total_seconds()
    plan.ask(asked(1, "here"), later_s - 0.1)
    assert sent(plan, later_s - 0.1) == []
    assert sent(plan, later_s) == [1]


def test_who_is_just_ahead_is_not_waited_for():
    """Two that fetch a moment apart hold each other up at every window otherwise."""
    plan = schedule()
    for index in range(limits.BLOCK_WINDOW):
        plan.ask(asked(index, "ahead"), 0.0)
    assert len(sent(plan, 0.0)) == limits.BLOCK_WINDOW
    plan.ask(asked(limits.BLOCK_WINDOW, "ahead"), 0.3)
    plan.ask(asked(0, "behind"), 0.3)
    assert sent(plan, 0.3) == [0]


def test_another_blob_is_not_waited_for():
    plan = schedule()
    plan.ask(other(1), 0.0)
    plan.ask(asked(2, "a"), 0.0)
    assert sorted(sent(plan, 0.0)) == [1, 2]
