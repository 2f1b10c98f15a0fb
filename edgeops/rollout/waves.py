"""How a rollout is cut into waves.

Sizes are cumulative: how many devices have been asked when the wave is over. A wave may also be a selector: those of
the devices that it names and no wave before had. Which device goes first is the caller's order; what lets a wave pass
is decided in `edgeops.rollout.evidence`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edgeops.errors import InputError
from edgeops.rollout.targeting import parse_selector

#: One canary, then everybody.
DEFAULT_WAVES = ("1", "100%")
#: Fewer devices than this have none to spare as control.
LEAST_WITH_CONTROL = 10
_SPEC = re.compile(r"([1-9][0-9]{0,6})(%?)")
#: What only a selector has.
_NAMES = re.compile(r"[=!()]")


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


@dataclass(frozen=True, slots=True)
class SelectorSpec:
    """A wave of the devices that a selector names."""

    selector: str

    def __str__(self) -> str:
        return self.selector


Spec = WaveSpec | SelectorSpec


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave with its devices, in the order in which they are asked."""

    device_ids: tuple[str, ...]
    #: Who is in it, where a selector says so; empty = by number.
    selector: str = ""
    #: Held back as control until the bake before it is over.
    control: bool = False


def parse_waves(texts: Sequence[str]) -> tuple[Spec, ...]:
    """Read sizes such as `1`, `50%`, `100%`, and selectors such as `label.site=lab`.

    Raises:
        InputError: none given, one that is neither a count nor a percentage nor a selector, or more than 100%.
    """
    if not texts:
        raise InputError(f"a rollout needs a wave; the default is {', '.join(DEFAULT_WAVES)}")
    return tuple(_parse(text) for text in texts)


def plan_waves(
    specs: Sequence[Spec],
    device_ids: Sequence[str],
    *,
    named: Mapping[str, Collection[str]] | None = None,
    control_share: float = 0.0,
) -> tuple[Wave, ...]:
    """Which device goes into which wave; waves that would add none are left out.

    `named` has the devices that each selector among `specs` names. The control share is taken from the end.

    Raises:
        InputError: a wave that reaches fewer devices than the one before, a selector that names none of them, or waves
            that leave devices out.
    """
    waves: list[Wave] = []
    left = list(device_ids)
    for number, spec in enumerate(specs, start=1):
        chosen = _chosen(number, spec, left, len(device_ids), named or {})
        if chosen:
            waves.append(Wave(tuple(chosen), selector=str(spec) if isinstance(spec, SelectorSpec) else ""))
            taken = frozenset(chosen)
            left = [one for one in left if one not in taken]
    if left:
        reached = len(device_ids) - len(left)
        raise InputError(f"the waves end at {reached} of {len(device_ids)} devices; add a last wave of 100%")
    return _with_control(waves, control_size(len(device_ids), control_share))


def control_size(devices: int, share: float) -> int:
    """How many devices are held back as control: none of a small fleet, which has no device to spare."""
    if devices < LEAST_WITH_CONTROL or share <= 0.0:
        return 0
    return max(1, int(devices * share))


def _chosen(
    number: int, spec: Spec, left: Sequence[str], devices: int, named: Mapping[str, Collection[str]]
) -> list[str]:
    if isinstance(spec, SelectorSpec):
        chosen = [one for one in left if one in named[spec.selector]]
        if not chosen:
            raise InputError(
                f"wave {number} ({spec}) has no device: it names none that this rollout concerns and no wave before has"
            )
        return chosen
    reach, reached = spec.reach(devices), devices - len(left)
    if reach < reached:
        raise InputError(
            f"wave {number} ({spec}) reaches {reach} of {devices} devices, the wave before already {reached};"
            " sizes are cumulative and must grow"
        )
    return list(left[: reach - reached])


def _with_control(waves: Sequence[Wave], size: int) -> tuple[Wave, ...]:
    """The same waves, the last `size` devices in one of their own."""
    kept: list[Wave] = list(waves)
    held: tuple[str, ...] = ()
    while kept and len(held) < size:
        last = kept.pop()
        cut = max(0, len(last.device_ids) - (size - len(held)))
        held = last.device_ids[cut:] + held
        if cut:
            kept.append(Wave(last.device_ids[:cut], selector=last.selector))
    return (*kept, Wave(held, control=True)) if held else tuple(kept)


def _parse(text: str) -> Spec:
    if _NAMES.search(text) or text.strip() == "all":
        parse_selector(text)
        return SelectorSpec(text.strip())
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"not a wave: {text[:20]!r}; give a number of devices, a percentage or a selector,"
            " as in 1,50%,100% or label.site=lab,100%"
        )
    spec = WaveSpec(int(match[1]), percent=bool(match[2]))
    if spec.percent and spec.amount > 100:
        raise InputError(f"a wave of {spec} is more than all devices; the last wave is 100%")
    return spec
