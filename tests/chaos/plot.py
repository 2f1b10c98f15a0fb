"""The rollouts that chaos goes through: each is a way for updates to end, so that every state comes to be.

A plot says at which places its devices are made to stand still, and what is done to the world then; the kill comes
after that. No plot asks for proof beyond the trial: the update machine is what is killed here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle

from edgeops.errors import ConflictError
from edgeops.protocol.messages import Reason
from edgeops.protocol.messages import UpdateState as S
from edgeops.rollout.installation import InstallationState, is_final
from edgeops.rollout.rollout import OPEN, RolloutState
from edgeops.update.update import RESTING
from tests.chaos.fleet import DEPLOYMENT, FORGED, MODEL, SPARE, VARIANT, Device, Fleet
from tests.chaos.place import HELD, Place

#: How every device ends is seen and nothing is tried again. The model that passes is the one that was trained well, and
#: neither time nor labels are waited for.
POLICY = {
    "bake": 0,
    "evidence_timeout": 0,
    "retries": 0,
    "control_share": 0,
    "roll_back_on_failure": False,
    "health": {"min_rows": 1, "labels": 0},
}
#: A window opens on a full minute, this long away at least: by then the devices have staged.
_WINDOW_AHEAD = timedelta(seconds=25)
#: Every so many special plots one that ends well everywhere.
_UPDATE_EVERY = 2


@dataclass
class Plot:
    """One rollout and what befalls it."""

    name: str
    version: int
    scenes: "Mapping[Place, Callable[[Plot, Fleet, Device], None]]"
    deployment: str = DEPLOYMENT
    #: The model may be turned to from the next full minute on.
    has_window: bool = False
    #: Where a device that is at rest may be made to stand still; None = wherever there is a scene on its way.
    ways_in: Sequence[Place] | None = None
    #: Nobody is struck before all of them stand still.
    together: bool = False
    rollout: str = ""
    _done: set[str] = field(default_factory=set)

    @property
    def entries(self) -> tuple[Place, ...]:
        """Where a device that is at rest will come by."""
        return tuple(place for place in self.scenes if place in (WAY if self.ways_in is None else self.ways_in))

    def begin(self, fleet: Fleet) -> None:
        policy = {**POLICY, "maintenance": [_next_window(datetime.now(UTC))]} if self.has_window else POLICY
        made = fleet.client.create_rollout(
            MODEL, self.version, variant=VARIANT, deployment=self.deployment, waves=("100%",), policy=policy
        )
        self.rollout = made.id

    def has_ended(self, fleet: Fleet) -> bool:
        """Whether the server expects nothing more of any device, and no device is still at it."""
        states = {InstallationState(one.state) for one in fleet.installations(self.rollout)}
        rollout = RolloutState(fleet.client.rollout(self.rollout).state)
        if rollout not in OPEN:
            # Who was never asked is not waited for when the rollout has ended.
            states.discard(InstallationState.PENDING)
        updates = [device.update(self.deployment) for device in fleet.devices]
        is_over = all(map(is_final, states)) and rollout is not RolloutState.ROLLING_BACK
        return is_over and all(
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


def plots(fleet: Fleet) -> Iterator[Plot]:
    """For ever, one after the other; each brings what the fewest devices run when it begins."""
    specials = (
        _aborted, _forged, _waiting, _damaged_early, _taken_back, _damaged_late, _left_alone,
        *(partial(_held, state) for state in HELD),
    )  # fmt: skip
    for number, special in enumerate(cycle(specials)):
        if number % _UPDATE_EVERY == 0:
            yield Plot("update", fleet.newcomer(), dict.fromkeys(WAY, _nothing))
        yield special(fleet.newcomer())


#: The way of an update that ends well.
WAY = tuple(map(Place, (S.FETCHING, S.VERIFYING, S.STAGED, S.PROBING, S.TRIAL, S.COMMITTED)))


# -- what is special ---------------------------------------------------------------------------


def _aborted(version: int) -> Plot:
    scenes = {Place(S.FETCHING): _abort, Place(S.TRIAL): _abort, Place(S.SUPERSEDED): _nothing}
    return Plot("abort", version, scenes)


def _forged(_version: int) -> Plot:
    return Plot("forgery", FORGED, {Place(S.FETCHING): _forge, Place(S.REJECTED): _nothing})


def _held(state: S, version: int) -> Plot:
    return Plot(f"hold while {state}", version, {Place(state): _hold, Place(state, Reason.HELD): _release})


def _damaged_early(version: int) -> Plot:
    return Plot("damage before the probe", version, {Place(S.PROBING): _damage, Place(S.FAILED): _nothing})


def _taken_back(version: int) -> Plot:
    scenes = {Place(S.COMMITTED): _take_back, Place(S.FETCHING): _nothing, Place(S.TRIAL): _nothing}
    return Plot("roll back", version, scenes, ways_in=(Place(S.COMMITTED),))


def _waiting(version: int) -> Plot:
    scenes = dict.fromkeys((Place(S.STAGED), Place(S.STAGED, Reason.WINDOW)), _nothing)
    return Plot("maintenance window", version, scenes, has_window=True)


def _damaged_late(version: int) -> Plot:
    return Plot("damage in trial", version, {Place(S.TRIAL): _damage, Place(S.ROLLED_BACK): _nothing})


def _left_alone(version: int) -> Plot:
    scenes = {Place(S.PROBING): _abort, Place(S.IDLE): _nothing}
    return Plot("nothing left", version, scenes, deployment=SPARE, together=True)


def _nothing(_plot: Plot, _fleet: Fleet, _device: Device) -> None:
    """Only the kill."""


def _abort(plot: Plot, fleet: Fleet, _device: Device) -> None:
    """Nobody is offered the model any more."""
    if plot.once("abort"):
        try:
            fleet.client.abort_rollout(plot.rollout)
        except ConflictError:
            return  # it has failed meanwhile


def _take_back(plot: Plot, fleet: Fleet, _device: Device) -> None:
    """Whoever has the model is to run what it ran before."""
    if plot.once("abort"):
        fleet.client.direct_rollout(plot.rollout, "abort", roll_back=True)


def _hold(plot: Plot, fleet: Fleet, device: Device) -> None:
    """The owner wants no update now."""
    fleet.hold(device, plot.deployment)


def _release(plot: Plot, fleet: Fleet, device: Device) -> None:
    """The owner does not mind any more."""
    fleet.release(device, plot.deployment)


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


def _next_window(now: datetime) -> str:
    """One of some hours, from the next full minute that is far enough away."""
    opens = (now + _WINDOW_AHEAD).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return f"daily {opens:%H:%M}-{opens + timedelta(hours=8):%H:%M} UTC"
