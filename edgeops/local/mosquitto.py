"""Where the mosquitto program is. It does not configure or start the broker."""

import os
import shutil
from pathlib import Path

from edgeops.errors import PlatformError

#: Names another mosquitto than the one found on PATH.
VARIABLE = "EDGEOPS_MOSQUITTO"
#: Debian installs the broker where a user's PATH does not look.
_SYSTEM = (Path("/usr/sbin/mosquitto"), Path("/usr/local/sbin/mosquitto"))


def find_mosquitto(data: Path) -> Path:
    """The broker to run: `$EDGEOPS_MOSQUITTO`, PATH, `.tools/bin` of the project, `<data>/tools/bin`, the system's.

    Raises:
        PlatformError: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not _is_program(Path(named)):
            raise PlatformError(f"{VARIABLE}={named} is no program; name the mosquitto binary, or unset it")
        return Path(named)
    on_path = shutil.which("mosquitto")
    if on_path:
        return Path(on_path)
    project = Path(__file__).resolve().parents[2]
    for candidate in (project / ".tools/bin/mosquitto", data / "tools/bin/mosquitto", *_SYSTEM):
        if _is_program(candidate):
            return candidate
    raise PlatformError(
        "no mosquitto found on PATH; install it (Debian: apt-get install mosquitto), run `.ci/setup demo` in a "
        f"checkout, or name the binary in {VARIABLE}"
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
