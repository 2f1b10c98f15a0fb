"""Who is killed when, and what must hold however often: at least, an update ends as it would have, reported once.

An agent is started with a fail point at which the whole process stands still right after a state was persisted. What
the disk says is noted, the world is changed as the plot wants, and the process is killed by its pid. In between,
agents, the link and the broker are killed at any moment.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgeops.local.part import Part
from edgeops.local.processes import require_running
from edgeops.protocol.messages import UpdateState
from edgeops.update.faults import VARIABLE, Fault, saved
from edgeops.update.update import RESTING, Update, is_tried
from tests.chaos.fleet import DEPLOYMENT, GOOD, SPARE, Device, Fleet, say
from tests.chaos.place import PLACES, Place
from tests.chaos.plot import Plot, plots
from tests.chaos.system import is_stopped, kill

_LOOK_S = 0.02
_AWAY_S = 0.1
#: Every so many kills of agents in a state: one of anything at any moment.
_ANY_EVERY = 4
#: A final report was made, whatever it says.
_ENDS = RESTING - {UpdateState.IDLE}
#: A plot whose devices do not come to rest within this has hung something.
_PLOT_S = 120.0


@dataclass
class Toll:
    """What was done, and what was lost."""

    #: Kills by what was killed.
    kills: Counter[str] = field(default_factory=Counter)
    #: Kills of agents by where their disk said that they stand.
    hits: Counter[Place] = field(default_factory=Counter)
    #: Final states that were on a device's disk, reported: (device, installation, state).
    ended: set[tuple[str, str, str]] = field(default_factory=set)
    modelless: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    #: Rows that the server counted, by the digest of what answered.
    answered: Counter[str] = field(default_factory=Counter)
    #: Models that were taken for the cause of a kill.
    fallen: list[str] = field(default_factory=list)


class Killer:
    """Goes through plots until enough were killed."""

    def __init__(self, fleet: Fleet, *, seed: int, kills: int, hits: int) -> None:
        self.toll = Toll()
        self._fleet, self._kills, self._hits = fleet, kills, hits
        self._random = random.Random(seed)
        self._plots: Iterator[Plot] = plots(fleet)
        self._had_model: set[str] = set()
        #: By device.
        self._armed: dict[str, Place | None] = {}
        #: What may run: the other one's descriptor is forged before any device has it.
        self._signed = {fleet.digests[version] for version in GOOD}

    def run(self) -> None:
        """Kill; at the end all agents run unarmed."""
        plot = next(self._plots)
        while not self._is_enough():
            self._play(plot)
            total = self.toll.kills.total()
            say(
                f"{total:4} kills; {plot.name}: {', '.join(f'{place} {n}' for place, n in sorted(self.toll.hits.items()))}"
            )
            plot = next(self._plots)
        for device in self._fleet.devices:
            self._kill_agent(device, device.update())
            self._start(device, None)

    def note(self, device: Device) -> None:
        """Look at a device's disk."""
        slots = device.slots()
        active = slots.pointer.active
        if active is None and device.id in self._had_model:
            self.toll.modelless.append(f"{device.agent.name} after kill {self.toll.kills.total()}")
        if active is not None:
            self._had_model.add(device.id)
            if active not in self._signed or not slots.holds(active):
                self.toll.unverified.append(f"{device.agent.name} runs {active}")
        for deployment in (DEPLOYMENT, SPARE):
            update = device.update(deployment)
            if update and update.fallen:
                self.toll.fallen.append(f"{device.agent.name}: {', '.join(update.fallen)}")
            if update and update.state in _ENDS and update.reported and update.wanted and update.wanted.installation:
                self.toll.ended.add((device.id, update.wanted.installation, update.state))

    def note_answers(self, device: Device) -> None:
        """Look at whose answers the server counted, those of candidates in their trial too."""
        for digest, rows in sorted(self._fleet.rows_by_digest(device).items()):
            self.toll.answered[digest] += rows
            if digest not in self._signed:
                self.toll.unverified.append(f"{device.agent.name} answered {rows} rows with {digest}")

    def _is_enough(self) -> bool:
        return self.toll.kills.total() >= self._kills and all(self.toll.hits[one] >= self._hits for one in PLACES)

    def _play(self, plot: Plot) -> None:
        for device in self._fleet.devices:
            if self._armed.get(device.id) not in plot.entries:
                self._kill_agent(device, device.update())
                self._start(device, self._rarest(plot.entries))
        self._await_contact()
        plot.begin(self._fleet)
        until_s, looked_s = time.monotonic() + _PLOT_S, 0.0
        needed = len(self._fleet.devices) if plot.together else 1
        while True:
            standing = [device for device in self._fleet.devices if is_stopped(device.pid)]
            if len(standing) >= needed:
                needed = 1
                for device in standing:
                    self._strike(device, plot)
            now_s = time.monotonic()
            assert now_s < until_s, f"{plot.name} hangs: {self._standing(plot)}"
            if now_s - looked_s > 1.0:
                looked_s = now_s
                for device in self._fleet.devices:
                    self.note(device)
                for part in (*self._fleet.site.server, *self._fleet.site.agents):
                    # What nobody killed runs.
                    require_running(part.child)
                if plot.has_ended(self._fleet):
                    break
            time.sleep(_LOOK_S)
        plot.end(self._fleet)

    def _await_contact(self) -> None:
        """Whoever is away is asked later: all of them shall stand still before the first is struck."""
        until_s = time.monotonic() + _PLOT_S
        while away := [one for one in self._fleet.devices if not self._fleet.is_in_contact(one)]:
            assert time.monotonic() < until_s, f"{', '.join(one.agent.name for one in away)}: no contact"
            for device in filter(lambda one: is_stopped(one.pid), away):
                # What the last plot took back from it came late.
                self._kill_agent(device, device.update())
                self._start(device, self._armed.get(device.id))
            time.sleep(_AWAY_S)

    def _strike(self, device: Device, plot: Plot) -> None:
        update = device.update(plot.deployment) or device.update()
        assert update is not None, "it stands still behind a state that was persisted"
        place = Place.of(update)
        scene = plot.scenes.get(place)
        self._kill_agent(device, update)
        if scene is not None:
            scene(plot, self._fleet, device)
        scenes = list(plot.scenes)
        ahead = scenes[scenes.index(place) + 1 :] if place in scenes else []
        self._start(device, self._rarest(ahead) if ahead else None, found=update)
        if self.toll.kills.total() % _ANY_EVERY == 0:
            self._strike_anywhere()

    def _strike_anywhere(self) -> None:
        link, broker = (self._part(name) for name in ("link", "broker"))
        victim: Part | Device = self._random.choice([link, broker, *self._fleet.devices])
        if isinstance(victim, Device):
            if not is_stopped(victim.pid):
                self._kill_agent(victim, victim.update())
                self._start(victim, self._armed.get(victim.id))
            return
        kill(victim.child.pid, of=str(self._fleet.site.data))
        victim.child.process.wait()
        self.toll.kills[victim.child.name] += 1
        victim.child = victim.start()

    def _kill_agent(self, device: Device, update: Update | None) -> None:
        """Kill it where `update` says that it stands, as its disk does."""
        kill(device.pid, of=str(device.agent.state))
        device.agent.child.process.wait()
        self.toll.kills["agent"] += 1
        if update is not None:
            self.toll.hits[Place.of(update)] += 1
        self.note(device)

    def _start(self, device: Device, armed: Place | None, *, found: Update | None = None) -> None:
        """Start its agent, which finds this; it stands still once the state of the place is persisted."""
        self._armed[device.id] = armed
        # A start in mid probe is persisted as what it is: killed there again and again, it would never be elsewhere.
        is_counted = armed is not None and found is not None and found.state is armed.state and is_tried(found)
        point = None if armed is None else f"{saved(armed.state)}:{2 if is_counted else 1}:{Fault.STOP}"
        environment = {} if point is None else {VARIABLE: point}
        self._fleet.site.start_agent(device.agent, environment=environment)

    def _rarest(self, places: Sequence[Place]) -> Place:
        return min(places, key=lambda one: (self.toll.hits[one], self._random.random()))

    def _part(self, name: str) -> Part:
        return next(part for part in self._fleet.site.server if part.child.name == name)

    def _standing(self, plot: Plot) -> str:
        """What the server waits for, and where the devices are."""
        states = {one.device_id: f"{one.state} ({one.id})" for one in self._fleet.installations(plot.rollout)}
        told = []
        for device in self._fleet.devices:
            one = device.update(plot.deployment)
            own = f"{one.state} {one.reason}, reported {one.reported}, next {one.next}" if one else "nothing"
            told.append(f"{device.agent.name}: server {states.get(device.id)}, device {own}")
        return "; ".join(told)
