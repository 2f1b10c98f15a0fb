"""When a finding is news: judgements that say the same are one spell, and people hear of its beginning only.

It stores nothing; `fleet_server.db.findings` keeps one row per spell.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Self

from edgeops import limits
from edgeops.drift.finding import Finding, Kind, Verdict


class Step(Enum):
    """What a judgement does to the spell that runs."""

    #: It says something new.
    BEGIN = auto()
    #: It says the same with fresher evidence.
    REFRESH = auto()
    #: It says the same, and that was written down a moment ago; or it has nothing to say of one device.
    LEAVE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What tells one spell from another, and how long it runs."""

    verdict: Verdict
    kinds: frozenset[Kind]
    class_mix_only: bool
    #: Names of the channels that drifted.
    drifted: frozenset[str]
    first_at: datetime
    last_at: datetime

    @property
    def story(self) -> tuple[Verdict, frozenset[Kind], bool]:
        """What makes it another spell when it changes."""
        return self.verdict, self.kinds, self.class_mix_only

    @classmethod
    def of(cls, finding: Finding, *, first_at: datetime, last_at: datetime) -> Self:
        """The spell that a finding belongs to."""
        return cls(
            verdict=finding.verdict,
            kinds=frozenset(finding.kinds),
            class_mix_only=finding.class_mix_only,
            drifted=frozenset(channel.name for channel in finding.channels if channel.drifted),
            first_at=first_at,
            last_at=last_at,
        )


def next_step(running: Spell | None, finding: Finding, *, is_local: bool, now: datetime) -> Step:
    """What to do with a judgement; `running` is the newest spell of the same stream.

    Of one device (`is_local`) only what differs from its siblings is told, and that it no longer does.
    """
    if running is None:
        return Step.BEGIN if not is_local or says_something(finding.verdict, finding.kinds) else Step.LEAVE
    present = Spell.of(finding, first_at=now, last_at=now)
    if present.story != running.story:
        return Step.BEGIN
    age = now - running.first_at
    if present.drifted != running.drifted:
        # While evidence grows the set grows with it; that is one story.
        return Step.BEGIN if age >= limits.FINDING_SETTLES_AFTER else Step.REFRESH
    if not is_local and finding.verdict is Verdict.STABLE:
        # When a fleet was last found stable decides which rows a healing learns from: that must be exact.
        return Step.REFRESH
    if not says_something(finding.verdict, finding.kinds):
        return Step.LEAVE
    return Step.REFRESH if now - running.last_at >= limits.FINDING_REFRESH_AFTER else Step.LEAVE


def says_something(verdict: Verdict, kinds: tuple[Kind, ...] | frozenset[Kind]) -> bool:
    """Whether a person should look."""
    return verdict is Verdict.DRIFT or bool(kinds)
