"""Which broker runs: the mosquitto program, and where it is, or the embedded one. It does not start it."""

import importlib.util
import os
import shutil
from pathlib import Path

from edgeops.errors import ConfigError, PlatformError

#: Names another mosquitto than the one found on PATH.
VARIABLE = "EDGEOPS_MOSQUITTO"
#: Names the broker to use: `mosquitto` or `amqtt`; unset = mosquitto where it is, else amqtt.
CHOICE = "EDGEOPS_BROKER"
EMBEDDED = "amqtt"
#: What is lost with the embedded broker, in one line.
LOSS = (
    "amqtt takes mosquitto's place: it loses what it retained and queued whenever it ends, speaks MQTT 3.1.1 only, and "
    "carries few thousand messages a second; install mosquitto for a fleet"
)
#: Debian installs the broker where a user's PATH does not look.
_SYSTEM = (Path("/usr/sbin/mosquitto"), Path("/usr/local/sbin/mosquitto"))


def choose_broker(data: Path) -> Path | None:
    """The mosquitto to run; None = the embedded broker.

    Raises:
        ConfigError: the environment names a broker that there is not.
        PlatformError: mosquitto was named and is not there, or neither is.
    """
    choice = os.environ.get(CHOICE) or None
    if choice == EMBEDDED:
        return None
    if choice not in (None, "mosquitto"):
        raise ConfigError(f"{CHOICE}={choice[:40]} is no broker; use mosquitto or {EMBEDDED}, or unset it")
    try:
        return find_mosquitto(data)
    except PlatformError:
        named = choice or os.environ.get(VARIABLE)
        if named or importlib.util.find_spec(EMBEDDED) is None:
            raise
        return None


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
