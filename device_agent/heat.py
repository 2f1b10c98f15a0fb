"""How warm the processor is, and whether it is held back because of that, where the machine tells.

Temperatures are those of sysfs (Linux, Documentation/ABI/testing/sysfs-class-thermal). A Raspberry Pi's firmware is
asked by `vcgencmd get_throttled`; other processors count in `thermal_throttle`. It decides nothing.
"""

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ZONES = Path("/sys/class/thermal")
_PROCESSORS = Path("/sys/devices/system/cpu")
#: How the type of a zone begins that is the processor's.
_OF_PROCESSOR = ("cpu", "soc", "x86_pkg_temp")
#: Of get_throttled: undervoltage, capped frequency, throttled, soft temperature limit, each now.
_HELD_BACK = 0xF
_ANSWERS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Heat:
    """The processor at one moment; None = the machine does not tell."""

    millicelsius: int | None
    #: Whether it is held back now.
    held_back: bool | None
    #: How often it was, since the machine started.
    times: int | None


def read_heat(zones: Path = _ZONES, processors: Path = _PROCESSORS) -> Heat:
    """How the processor is now."""
    firmware = _firmware()
    return Heat(
        millicelsius=_hottest(zones),
        held_back=None if firmware is None else held_back(firmware),
        times=_times(processors),
    )


def was_throttled(before: Heat, after: Heat) -> bool | None:
    """Whether the processor was held back at one of two moments, or between them; None = not known."""
    told = [one.held_back for one in (before, after) if one.held_back is not None]
    if before.times is not None and after.times is not None:
        told.append(after.times > before.times)
    return any(told) if told else None


def held_back(answer: str) -> bool | None:
    """What `throttled=0x50000` means; None = it is no such answer."""
    name, _, bits = answer.strip().partition("=")
    try:
        return bool(int(bits, 16) & _HELD_BACK) if name == "throttled" else None
    except ValueError:
        return None


def _hottest(zones: Path) -> int | None:
    found: list[int] = []
    for zone in sorted(zones.glob("thermal_zone*")):
        with suppress(OSError, ValueError):
            if (zone / "type").read_text(encoding="ascii").lower().startswith(_OF_PROCESSOR):
                found.append(int((zone / "temp").read_text(encoding="ascii")))
    return max(found, default=None)


def _times(processors: Path) -> int | None:
    counts: list[int] = []
    for file in processors.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        with suppress(OSError, ValueError):
            counts.append(int(file.read_text(encoding="ascii")))
    return sum(counts) if counts else None


def _firmware() -> str | None:
    try:
        asked = subprocess.run(
            ["vcgencmd", "get_throttled"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWERS_WITHIN_S,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout
