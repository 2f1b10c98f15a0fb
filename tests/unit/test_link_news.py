"""What is worth an event is told at intervals that no step of the server's clock changes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from fleet_server.link.entries import Alerted, Heard
from fleet_server.link.keyring import Refusal
from fleet_server.link.news import News

NOW = datetime(2026, 11, 26, tzinfo=UTC)
INTERVAL_S = limits.ALERT_INTERVAL.total_seconds()


@dataclass
class Batch:
    """As much of a `Reading` as counts here."""

    refusals: dict = field(default_factory=lambda: {("cam-1", Refusal.SIGNATURE): (3, "forged")})
    heard: frozenset = frozenset({"cam-1"})


def told(news, *, second, clock=timedelta(0)):
    entries = news.of(Batch(), NOW + timedelta(seconds=second) + clock, now_s=float(second))
    news.told(entries, now_s=float(second))
    return entries


def test_a_repeated_refusal_is_told_once_an_interval_with_all_that_came_meanwhile():
    news = News()
    assert len(told(news, second=0)) == 2
    assert told(news, second=1) == []
    (alert, _) = told(news, second=INTERVAL_S + 1)
    assert alert == Alerted("cam-1", Refusal.SIGNATURE, 6, "forged", NOW + timedelta(seconds=INTERVAL_S + 1))


@pytest.mark.parametrize("step", [timedelta(days=-4_000), timedelta(days=4_000)])
def test_after_a_step_of_the_clock_alerts_and_sightings_go_on_as_before(step):
    news = News()
    told(news, second=0)
    assert told(news, second=1, clock=step) == []
    alert, seen = told(news, second=INTERVAL_S + 1, clock=step)
    assert isinstance(alert, Alerted)
    assert isinstance(seen, Heard)
