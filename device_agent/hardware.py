"""Which machine this is: what an identity is bound to. Loads no runtime; what models must fit on is in `facts`."""

import platform
from pathlib import Path

#: A board's serial number first (Raspberry Pi), then the installation's id (machine-id(5)).
_IDENTITIES = (Path("/proc/device-tree/serial-number"), Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def hardware_id() -> str:
    """What enrolment binds the identity to; the host name where a machine has nothing better."""
    for path in _IDENTITIES:
        try:
            text = path.read_text(encoding="ascii").strip("\x00\n ")
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return platform.node() or "unknown"
