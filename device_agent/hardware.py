"""Which machine this is: what an identity is bound to. Loads no runtime; what models must fit on is in `facts`."""

import platform
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edgeops import limits

#: A board's serial number first (Raspberry Pi), then the installation's id (machine-id(5)).
_IDENTITIES = (Path("/proc/device-tree/serial-number"), Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


#: What board it is: by its device tree, else by its firmware (SMBIOS).
_BOARDS = (Path("/proc/device-tree/model"), Path("/sys/class/dmi/id/product_name"))
#: Revisions of one board run a model alike.
_REVISION = re.compile(r"\s+Rev\s.*")


def hardware_id() -> str:
    """What enrolment binds the identity to; the host name where a machine has nothing better."""
    return _first_of(_IDENTITIES) or platform.node() or "unknown"


@cache
def board() -> str:
    """The model of the board, as `Raspberry Pi 4 Model B`; empty where the machine does not say."""
    return board_model(_first_of(_BOARDS))


def board_model(text: str) -> str:
    """The model in what a board calls itself, without its revision."""
    return _REVISION.sub("", text)[: limits.MAX_FACT_LENGTH]


def _first_of(paths: Sequence[Path]) -> str:
    for path in paths:
        try:
            text = path.read_text(encoding="ascii").strip("\x00\n ")
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return ""
