"""The service clock: time that passes only while devices can be heard.

Deadlines of rollouts are read on it, so that no device times out because the server was away, or could not hear. It
stands still while no heartbeat of the ingestion comes, and for a grace afterwards, in which devices are heard first. It
never goes back, whatever happens to the clock of the machine, which is an argument here.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edgeops import limits


@dataclass(frozen=True, slots=True)
class ServiceClock:
    """The clock as it was looked at last."""

    #: What it showed, and what the machine's clock did then.
    shows: datetime
    looked_at: datetime
    #: Stands still until this, by the machine's clock; None = runs.
    stands_until: datetime | None = None

    def at(self, now: datetime) -> datetime:
        """What it shows now, as far as that is known without looking for heartbeats."""
        if self.stands_until is not None:
            return self.shows
        return self.shows + _passed(self.looked_at, now)


def started(now: datetime) -> ServiceClock:
    """A clock that begins; it stands until devices are heard."""
    return ServiceClock(shows=now, looked_at=now, stands_until=now)


def looked(clock: ServiceClock, now: datetime, *, beat_at: datetime | None) -> ServiceClock:
    """The clock now; `beat_at` is when ingestion last said that it hears devices, None = never."""
    shows = clock.at(now)
    if beat_at is None:
        return ServiceClock(shows, now, stands_until=now)  # nobody was ever heard, so nobody needs a grace
    away = not timedelta(0) <= now - clock.looked_at <= limits.HEARTBEAT_MISSED
    if away or is_missed(beat_at, now):
        return ServiceClock(shows, now, stands_until=now + limits.GRACE_AFTER_OUTAGE)
    if clock.stands_until is not None and now < clock.stands_until:
        return replace(clock, looked_at=now)
    return ServiceClock(shows, now)


def is_missed(beat_at: datetime, now: datetime) -> bool:
    """Whether the last heartbeat is too far from now: devices are not heard."""
    return abs(now - beat_at) > limits.HEARTBEAT_MISSED


def _passed(since: datetime, now: datetime) -> timedelta:
    """What counts of the time between two looks: none if the machine's clock was put back, little if nobody looked."""
    return max(timedelta(0), min(now - since, limits.HEARTBEAT_MISSED))
