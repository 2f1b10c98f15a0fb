"""The rollouts that chaos goes through: each is a way for updates to end, so that every state comes to be.

A plot says in which states its devices are made to stand still, and what is done to the world then; the kill comes
after that.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from edgeops.errors import ConflictError
from edgeops.protocol.messages import UpdateState as S
from edgeops.rollout.installation import InstallationState, is_final
from edgeops.rollout.rollout import OPEN
from edgeops.update.update import RESTING
from tests.chaos.fleet import DEPLOYMENT, FORGED, GOOD, MODEL, SPARE, VARIANT, Device, Fleet


@dataclass
class Plot:
    """One rollout and what befalls it."""

    name: str
    version: int
    scenes: "Mapping[S, Callable[[Plot, Fleet, Device], None]]"
    deployment: str = DEPLOYMENT
    rollout: str = ""
    _done: set[str] = field(default_factory=set)

    @property
    def entries(self) -> tuple[S, ...]:
        """Where a device that is at rest will come by."""
        return tuple(state for state in self.scenes if state in WAY)

    def begin(self, fleet: Fleet) -> None:
        made = fleet.client.create_rollout(
            MODEL, self.version, variant=VARIANT, deployment=self.deployment, waves=("100%",)
        )
        self.rollout = made.id

    def has_ended(self, fleet: Fleet) -> bool:
        """Whether the server expects nothing more of any device, and no device is still at it."""
        states = {InstallationState(one.state) for one in fleet.installations(self.rollout)}
        if fleet.client.rollout(self.rollout).state not in OPEN:
            # Who was never asked is not waited for when the rollout has ended.
            states.discard(InstallationState.PENDING)
        updates = [device.update(self.deployment) for device in fleet.devices]
        return all(map(is_final, states)) and all(
            one is None or (one.state in RESTING and one.reported and one.next is None) for one in updates
        )

    def end(self, fleet: Fleet) -> None:
        """What the world gets back."""
        fleet.mend_targets()

    def once(self, what: str) -> bool:
        """True the first time."""
        is_new = what not in self._done
        self._done.add(what)
        return is_new


def plots() -> Iterator[Plot]:
    """For ever, one after the other."""
    for turn in count():
        good, other = (GOOD[(turn + ahead) % len(GOOD)] for ahead in (0, 1))
        yield Plot("update", good, dict.fromkeys(WAY, _nothing))
        match turn % 5:
            case 0:
                yield Plot("abort", other, {S.FETCHING: _abort, S.TRIAL: _abort, S.SUPERSEDED: _nothing})
            case 1:
                yield Plot("forgery", FORGED, {S.FETCHING: _forge, S.REJECTED: _nothing})
            case 2:
                yield Plot("damage before the probe", other, {S.PROBING: _damage, S.FAILED: _nothing})
            case 3:
                yield Plot("damage in trial", other, {S.TRIAL: _damage, S.ROLLED_BACK: _nothing})
            case _:
                yield Plot("nothing left", other, {S.PROBING: _abort, S.IDLE: _nothing}, deployment=SPARE)


#: The way of an update that ends well.
WAY = (S.FETCHING, S.VERIFYING, S.STAGED, S.PROBING, S.TRIAL, S.COMMITTED)


def _nothing(_plot: Plot, _fleet: Fleet, _device: Device) -> None:
    """Only the kill."""


def _abort(plot: Plot, fleet: Fleet, _device: Device) -> None:
    """Nobody is offered the model any more."""
    if plot.once("abort"):
        try:
            fleet.client.abort_rollout(plot.rollout)
        except ConflictError:
            return  # it has failed meanwhile


def _forge(plot: Plot, fleet: Fleet, device: Device) -> None:
    """The server hands out a descriptor that nobody signed, and the device has no older copy."""
    fleet.forge_target(plot.version)
    device.forget_targets()


def _damage(plot: Plot, fleet: Fleet, device: Device) -> None:
    """The card turns a bit of the candidate."""
    file = device.slots().slot(fleet.digests[plot.version]).path
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x10
    file.write_bytes(content)
