"""How a rollout is cut into waves.

Sizes are cumulative: how many devices have been asked when the wave is over. Which device goes into
which wave is the caller's order; what lets a wave pass is decided in `edgeops.rollout.evidence`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeops.errors import InputError

#: One canary, then everybody.
DEFAULT_WAVES = ("1", "100%")
_SPEC = re.compile(r"([1-9][0-9]{0,6})(%?)")


@dataclass(frozen=True, slots=True)
class WaveSpec:
    """A cumulative size as a person wrote it."""

    amount: int
    percent: bool

    def reach(self, devices: int) -> int:
        """How many of `devices` have been asked after this wave; a share is rounded up."""
        wanted = -(-devices * self.amount // 100) if self.percent else self.amount
        return min(wanted, devices)

    def __str__(self) -> str:
        return f"{self.amount}{'%' if self.percent else ''}"


def parse_waves(texts: Sequence[str]) -> tuple[WaveSpec, ...]:
    """Read sizes such as `1`, `50%`, `100%`.

    Raises:
        InputError: none given, one that is neither a count nor a percentage, or more than 100%.
    """
    if not texts:
        raise InputError(f"a rollout needs a wave; the default is {', '.join(DEFAULT_WAVES)}")
    return tuple(_parse(text) for text in texts)


def wave_sizes(specs: Sequence[WaveSpec], devices: int) -> tuple[int, ...]:
    """How many devices each wave adds; waves that would add none are left out.

    Raises:
        InputError: a wave that reaches fewer devices than the one before, or waves that leave devices out.
    """
    sizes: list[int] = []
    reached = 0
    for number, spec in enumerate(specs, start=1):
        reach = spec.reach(devices)
        if reach < reached:
            raise InputError(
                f"wave {number} ({spec}) reaches {reach} of {devices} devices, the wave before already {reached};"
                " sizes are cumulative and must grow"
            )
        if reach > reached:
            sizes.append(reach - reached)
        reached = reach
    if reached < devices:
        raise InputError(f"the waves end at {reached} of {devices} devices; add a last wave of 100%")
    return tuple(sizes)


def control_positions(controls: Sequence[bool], present: int) -> tuple[int, ...]:
    """Which waves are held back as control while the wave at `present` shows itself.

    The control share, `controls[position]`, where there is one; else every wave that was not asked yet.
    """
    later = range(present + 1, len(controls))
    return tuple(position for position in later if controls[position] or not any(controls))


def _parse(text: str) -> WaveSpec:
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise InputError(f"not a wave: {text[:20]!r}; give a number of devices or a percentage, as in 1,50%,100%")
    spec = WaveSpec(int(match[1]), percent=bool(match[2]))
    if spec.percent and spec.amount > 100:
        raise InputError(f"a wave of {spec} is more than all devices; the last wave is 100%")
    return spec
