"""Token buckets, and the settings they are filled by."""

import pytest

from edgeops import limits
from edgeops.errors import ConfigError
from fleet_server import rates
from fleet_server.cli import _parser
from fleet_server.config import ServerConfig
from fleet_server.rates import DeviceBuckets, TokenBucket

RATE = float(4 * limits.BLOCK_BYTES)


def test_reserved_times_follow_each_other_in_the_order_of_asking():
    bucket = TokenBucket(RATE, now_s=0.0)
    bucket.take(int(bucket.burst_bytes), 0.0)
    waits = [bucket.owe(limits.BLOCK_BYTES, 0.0) for _ in range(4)]
    assert waits == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert bucket.owe(limits.BLOCK_BYTES, 1.0) == pytest.approx(0.25)


def test_each_device_has_a_bucket_of_its_own():
    buckets = DeviceBuckets(RATE)
    buckets.of("a", 0.0).take(10 * limits.BLOCK_BYTES, 0.0)
    assert buckets.of("a", 0.0).wait_s(1, 0.0) > 0.0
    assert buckets.of("b", 0.0).wait_s(1, 0.0) == 0.0


def test_a_device_that_owes_is_not_forgotten_among_many():
    buckets = DeviceBuckets(RATE)
    buckets.of("owes", 0.0).take(10**9, 0.0)
    for number in range(10_000):
        buckets.of(f"device-{number}", 1.0)
    assert buckets.of("owes", 1.0).wait_s(1, 1.0) > 0.0


@pytest.mark.parametrize("name", ["block_rate", "range_rate", "device_rate"])
def test_a_rate_below_one_block_a_second_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="below one block"):
        ServerConfig(tmp_path, **{name: limits.BLOCK_BYTES - 1})


def test_rates_come_from_the_command_line_before_the_environment(monkeypatch):
    monkeypatch.setenv("EDGEOPS_BLOCK_RATE", "100000")
    monkeypatch.setenv("EDGEOPS_DEVICE_RATE", "200000")
    options = _parser().parse_args(["link", "--device-rate", "300000"])
    assert (options.block_rate, options.device_rate) == (100_000, 300_000)
    assert options.range_rate == limits.RANGE_RATE_BYTES_PER_S


def test_a_rate_that_is_no_number_is_told_wherever_it_stands(monkeypatch, capsys):
    monkeypatch.setenv("EDGEOPS_RANGE_RATE", "fast")
    with pytest.raises(SystemExit):
        _parser().parse_args(["api"])
    assert "'fast' is no number of bytes a second" in capsys.readouterr().err


def test_however_many_devices_wait_at_once_making_a_bucket_costs_the_same(monkeypatch):
    looked = 0

    def is_full(*_):
        nonlocal looked
        looked += 1
        return False

    monkeypatch.setattr(TokenBucket, "is_full", is_full)
    buckets, devices = DeviceBuckets(RATE), 3 * rates._KEPT_DEVICES
    for number in range(devices):
        buckets.of(f"dev-{number}", 0.0).take(1, 0.0)
    assert looked <= devices
