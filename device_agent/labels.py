"""What the owner calls a device by, `labels.json`: names and values that selectors of rollouts can ask for.

It says nothing about what the device is; see `device_agent.facts`.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from device_agent.config import StateFolder
from device_agent.store.aside import read_or_set_aside
from edgeops import limits
from edgeops.digest import write_atomically
from edgeops.errors import ConfigError
from edgeops.protocol.messages import Fact

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def read_labels(state: StateFolder, *, on_damage: Callable[[Exception], object] = lambda _: None) -> dict[str, str]:
    """The device's labels; a file that cannot be read is set aside, after `on_damage`, and there are none until the
    owner names them.
    """  # noqa: D205 - one sentence
    return read_or_set_aside(state.labels, dict[str, Fact], on_damage=on_damage) or {}


def write_labels(state: StateFolder, labels: Mapping[str, str]) -> None:
    """Store the device's labels.

    Raises:
        ConfigError: too many.
    """
    if len(labels) > limits.MAX_DEVICE_LABELS:
        raise ConfigError(f"{len(labels)} labels; a device has {limits.MAX_DEVICE_LABELS} at most, remove some")
    write_atomically(state.labels, msgspec.json.format(msgspec.json.encode(labels)) + b"\n")


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """Read `KEY=VALUE` as people write it.

    Raises:
        ConfigError: one is none.
    """
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or _KEY.fullmatch(key) is None or not 0 < len(value.strip()) <= limits.MAX_FACT_LENGTH:
            raise ConfigError(
                f"{text[:120]!r} is no label; write it as site=plant-1: a key of 1 to 63 letters, digits, '_', '.' "
                f"and '-', and a value of up to {limits.MAX_FACT_LENGTH} characters"
            )
        labels[key] = value.strip()
    return labels
