"""A fleet that lost its broker comes back over a spread that its size asks for."""

from datetime import UTC, datetime, timedelta

import pytest

from device_agent.link import spread_s
from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.messages import Credit, decode, encode
from fleet_server.link.voice import reconnect_spread

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_the_pause_is_drawn_from_a_spread_that_doubles_to_its_limit():
    spreads = [spread_s(attempts, 0.0) for attempts in range(12)]
    assert spreads[:3] == [0.25, 0.5, 1.0]
    assert spreads[-1] == limits.RECONNECT_MAX.total_seconds()


def test_the_first_attempt_after_a_loss_is_already_spread_as_the_server_asks():
    assert spread_s(0, 200.0) == 200.0
    assert spread_s(0, 0.1) == limits.RECONNECT_MIN.total_seconds()


def test_a_fleet_of_ten_thousand_comes_back_in_minutes_and_one_of_three_at_once():
    assert reconnect_spread(10_000) == timedelta(seconds=200)
    assert reconnect_spread(3) < limits.RECONNECT_MIN
    assert reconnect_spread(10_000_000) == limits.MAX_RECONNECT_SPREAD


def test_a_spread_beyond_its_limit_is_no_credit():
    credit = Credit(records=1, at=NOW, reconnect_spread_ms=600_001)
    with pytest.raises(MessageError):
        decode(encode(credit), Credit)
