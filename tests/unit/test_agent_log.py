"""What an agent says of a broker that is away: its log may lie on a card."""

import logging

from device_agent.agent import Agent
from device_agent.link import Disconnected
from tests.unit.lone_agent import DEVICE, end, enrolled


def test_a_broker_that_is_away_for_long_is_told_ever_more_rarely(tmp_path, caplog):
    agent = Agent(enrolled(tmp_path), DEVICE)
    try:
        with caplog.at_level(logging.INFO, logger="device_agent.agent"):
            for _ in range(1_000):
                agent._handle(Disconnected("nobody listens"))
    finally:
        end(agent)
    told = [record.attempts for record in caplog.records if record.message == "link.down"]
    assert told == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
