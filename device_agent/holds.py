"""The owner's holds, `holds.json`: of single deployments, or of the whole device.

The file is what counts: a hold is there before an agent runs, and after it died. Where it cannot be read everything is
held, for nothing may begin that the owner may have forbidden. What a hold holds up is `edgeops.update.leave`'s.
"""

from collections.abc import Callable
from typing import Self

import msgspec

from device_agent.config import Settings, StateFolder
from device_agent.store.aside import set_aside, was_set_aside
from edgeops.digest import write_atomically
from edgeops.errors import ConfigError
from edgeops.update.leave import Hold

_DAMAGED = Hold(reason="the file of holds was damaged; say again what shall be held, and release the rest")


class Holds(Settings, frozen=True, kw_only=True):
    """What the owner holds."""

    #: All deployments of the device, also those that come later.
    device: Hold | None = None
    deployments: dict[str, Hold] = {}

    def of(self, deployment: str) -> Hold | None:
        """The hold of one deployment, its own before the device's."""
        return self.deployments.get(deployment, self.device)

    def held(self, deployment: str | None, hold: Hold) -> Self:
        """With one more; None = the whole device."""
        if deployment is None:
            return msgspec.structs.replace(self, device=hold)
        return msgspec.structs.replace(self, deployments={**self.deployments, deployment: hold})

    def released(self, deployment: str | None) -> Self:
        """Without that one; None = without any."""
        if deployment is None:
            return type(self)()
        left = {name: hold for name, hold in self.deployments.items() if name != deployment}
        return msgspec.structs.replace(self, deployments=left)


def read_holds(state: StateFolder, *, on_damage: Callable[[Exception], object] = lambda _: None) -> Holds:
    """What the owner holds; what cannot be read is set aside, after `on_damage`, and holds everything until the owner
    has spoken again.
    """  # noqa: D205 - one sentence
    try:
        return msgspec.json.decode(state.holds.read_bytes(), type=Holds)
    except FileNotFoundError:
        return Holds(device=_DAMAGED) if was_set_aside(state.holds) else Holds()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        on_damage(error)
        set_aside(state.holds)
        return Holds(device=_DAMAGED)


def write_holds(state: StateFolder, holds: Holds) -> None:
    """Store what the owner holds.

    Raises:
        ConfigError: the disk does not take it.
    """
    try:
        write_atomically(state.holds, msgspec.json.format(msgspec.json.encode(holds)) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write {state.holds}: {error}; make room, and say it again") from error
