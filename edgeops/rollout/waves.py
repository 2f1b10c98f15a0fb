"""How a rollout is cut into waves: by number, by share, or by selector, and who is held back as control.

Numbers and shares are cumulative: how many devices have been asked when the wave is over. A wave by selector asks those
of its devices that no wave before asked. The devices that are held back as control form one more wave, the last, so
that there is something to compare with until the bake before it is over. What lets a wave pass is decided elsewhere.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.errors import InputError
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.objection import Objection
from edgeops.rollout.selector import Selector, matches, parse_selector, resolve

#: One canary, then everybody.
DEFAULT_WAVES = ("1", "100%")
_SPEC = re.compile(r"([1-9][0-9]{0,6})(%?)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?%?")


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
class ChosenWave:
    """The devices that a selector means."""

    text: str
    selector: Selector

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Wave:
    """Who is asked together."""

    devices: tuple[Candidate, ...]
    #: Who is in it, where a selector says so; empty = by number.
    selector: str = ""
    #: Held back until the bake before it is over.
    control: bool = False


def split_waves(text: str) -> tuple[str, ...]:
    """Waves out of one line: `1,50%,100%`, `group=canaries,100%`; `;` parts two selectors.

    A comma parts a number from what is around it; between two other words it belongs to a selector.
    """
    waves: list[str] = []
    for part in text.split(";"):
        mine: list[str] = []
        for word in part.split(","):
            goes_on = mine and not _NUMBER.fullmatch(word.strip()) and not _NUMBER.fullmatch(mine[-1].strip())
            mine = [*mine[:-1], f"{mine[-1]},{word}"] if goes_on else [*mine, word]
        waves += mine
    return tuple(wave.strip() for wave in waves)


def parse_waves(texts: Sequence[str]) -> tuple[WaveSpec | ChosenWave, ...]:
    """Read waves such as `1`, `50%`, `group=canaries`.

    Raises:
        InputError: none given, or one that is neither a number, a share nor a selector, or more than 100%.
    """
    if not texts:
        raise InputError(f"a rollout needs a wave; the default is {', '.join(DEFAULT_WAVES)}")
    return tuple(_parse(text) for text in texts)


def line_up(
    texts: Sequence[str],
    devices: Sequence[Candidate],
    *,
    control_share: float,
    seed: str,
    groups: Mapping[str, Selector],
) -> tuple[tuple[Wave, ...], tuple[Objection, ...]]:
    """Put `devices`, in this order, into waves, and tell what is wrong with them; a wave that adds nobody is left out.

    Who is control is drawn by `seed` from those that are online and not in the first wave.
    """
    specs, objections = _read(texts, groups)
    if objections or not devices:
        return (), tuple(objections)
    counted = _control_size(len(devices), control_share)
    waves, objections = _deal(specs, devices, held_back=frozenset())
    if objections or not counted:
        return waves, tuple(objections)
    first = {one.id for one in waves[0].devices}
    control = _draw([one for one in devices if one.id not in first], counted, seed)
    waves, objections = _deal(specs, devices, held_back=frozenset(one.id for one in control))
    return ((*waves, Wave(control, control=True)) if control else waves), tuple(objections)


def control_positions(controls: Sequence[bool], present: int) -> tuple[int, ...]:
    """Which waves are held back as control while the wave at `present` shows itself.

    The control share, `controls[position]`, where there is one; else every wave that was not asked yet.
    """
    later = range(present + 1, len(controls))
    return tuple(position for position in later if controls[position] or not any(controls))


def _control_size(devices: int, share: float) -> int:
    if devices < limits.CONTROL_FROM_DEVICES or share <= 0:
        return 0
    return max(1, int(devices * share + 0.5))


def _draw(devices: Sequence[Candidate], count: int, seed: str) -> tuple[Candidate, ...]:
    """Online ones first, for a silent device shows nothing; among them by chance, the same for the same seed."""
    by_chance = sorted(devices, key=lambda one: (not one.online, digest_bytes(f"{seed} {one.id}".encode())))
    return tuple(sorted(by_chance[:count], key=lambda one: (not one.online, one.id)))


def _read(texts: Sequence[str], groups: Mapping[str, Selector]) -> tuple[list[WaveSpec | ChosenWave], list[Objection]]:
    if not texts:
        return [], [Objection("#/waves", f"a rollout needs a wave; the default is {', '.join(DEFAULT_WAVES)}")]
    specs: list[WaveSpec | ChosenWave] = []
    objections: list[Objection] = []
    for number, text in enumerate(texts):
        try:
            spec = _parse(text)
            if isinstance(spec, ChosenWave):
                spec = ChosenWave(spec.text, resolve(spec.selector, groups))
            specs.append(spec)
        except InputError as error:
            objections.append(Objection(f"#/waves/{number}", str(error)))
    return specs, objections


def _deal(
    specs: Sequence[WaveSpec | ChosenWave], devices: Sequence[Candidate], *, held_back: frozenset[str]
) -> tuple[tuple[Wave, ...], list[Objection]]:
    waves: list[Wave] = []
    objections: list[Objection] = []
    left = [one for one in devices if one.id not in held_back]
    asked, total = 0, len(devices)
    before: WaveSpec | None = None
    for number, spec in enumerate(specs):
        match spec:
            case WaveSpec():
                objection = _not_growing(spec, before, total, number)
                wanted = max(0, min(spec.reach(total) - asked, len(left)))
                chosen, before = left[:wanted], spec
            case ChosenWave():
                chosen = [one for one in left if matches(spec.selector, one)]
                anybody = any(matches(spec.selector, one) for one in devices)
                words = f"no device of the rollout is {spec}; the selector of a wave chooses among those of the rollout"
                objection = None if anybody else Objection(f"#/waves/{number}", words)
        if objection is not None:
            objections.append(objection)
        if chosen:
            waves.append(Wave(tuple(chosen), spec.text if isinstance(spec, ChosenWave) else ""))
            taken = {one.id for one in chosen}
            left = [one for one in left if one.id not in taken]
            asked += len(chosen)
    if left and not objections:
        words = f"the waves end at {asked} of {total - len(held_back)} devices; add a last wave of 100%"
        objections.append(Objection("#/waves", words))
    return tuple(waves), objections


def _not_growing(spec: WaveSpec, before: WaveSpec | None, devices: int, number: int) -> Objection | None:
    if before is None or spec.reach(devices) >= before.reach(devices):
        return None
    return Objection(
        f"#/waves/{number}",
        f"wave {number + 1} ({spec}) reaches {spec.reach(devices)} of {devices} devices, {before} before it already"
        f" {before.reach(devices)}; sizes are cumulative and must grow",
    )


def _parse(text: str) -> WaveSpec | ChosenWave:
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        return _parse_chosen(text)
    spec = WaveSpec(int(match[1]), percent=bool(match[2]))
    if spec.percent and spec.amount > 100:
        raise InputError(f"a wave of {spec} is more than all devices; the last wave is 100%")
    return spec


def _parse_chosen(text: str) -> ChosenWave:
    forms = "give a number of devices, a percentage or a selector, as in group=canaries,50%,100%"
    if not re.search(r"[a-z]", text):
        raise InputError(f"not a wave: {text[:20]!r}; {forms}")
    try:
        return ChosenWave(text.strip(), parse_selector(text.strip()))
    except InputError as error:
        raise InputError(f"not a wave: {text[:20]!r}; {forms}. {error}") from error
