"""What the health gate says of models at work: three answers, each in words and with what it stands on.

They are values: who judges (`edgeops.rollout.health`) and who acts on it (`edgeops.rollout.evidence`) meet here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Healthy:
    """Proof: the new model is not worse than the old one."""

    words: str
    #: Numbers, stored with the verdict as JSON.
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Undecided:
    """Not enough to say either; what is missing, in words."""

    words: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """The new model is worse, in words that name by what."""

    words: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


Health = Healthy | Undecided | Unhealthy
