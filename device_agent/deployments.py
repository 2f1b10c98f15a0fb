"""All deployments of one device: each is set up once, with a thread that infers and a worker that updates.

One that cannot be set up, by a damaged folder or a full disk, is counted and holds up no other. What a
deployment shall run is decided in `updates`, what a desired state is worth in `downlink`.
"""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from device_agent.config import Deployment, Replay, StateFolder, read_deployment
from device_agent.feed import Feed, Wiring
from device_agent.holds import Holds
from device_agent.nomination import Nominations
from device_agent.pool import Pooled
from device_agent.sinks.jsonl import JsonlSink
from device_agent.sinks.mqtt import MqttSink
from device_agent.sinks.sink import Sink
from device_agent.sinks.telemetry import TelemetrySink
from device_agent.sources.cells import positions
from device_agent.sources.replay import ReplaySource
from device_agent.sources.source import Source
from device_agent.sources.stream import StreamSource
from device_agent.starts import Starts
from device_agent.store.aside import set_aside, was_set_aside
from device_agent.store.spoolfile import boot_id
from device_agent.store.tray import Tray
from device_agent.updates import Surroundings, Updates
from device_agent.watchdog import Watchdog
from device_agent.worker import Worker
from edgeops import limits
from edgeops.errors import ConfigError, EdgeOpsError, MessageError
from edgeops.protocol.messages import DeploymentState, Desired, DesiredDeployment, Nominate, Response
from edgeops.protocol.topics import UpKind
from edgeops.update.streak import Standing

_log = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 5.0
#: A deployment whose model is slow answers a question after its present inference.
_POOL_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployment at work: what shall run, what runs it, and what does its slow steps."""

    updates: Updates
    feed: Feed
    worker: Worker


class Deployments:
    """By name; for the main thread, but for `changed` and reading."""

    def __init__(
        self,
        state: StateFolder,
        surroundings: Surroundings,
        tray: Tray,
        *,
        on_change: Callable[[], None],
        watchdog: Watchdog,
        holds: Holds | None = None,
    ) -> None:
        """`on_change` is called from any thread, when an update machine moved; `holds` are the owner's."""
        self._holds = holds or Holds()
        self._watchdog = watchdog
        self._state = state
        self._around = surroundings
        self._tray = tray
        self._on_change = on_change
        self._deployed: dict[str, Deployed] = {}
        #: Those that could not be set up, and when that is tried again.
        self._unusable: tuple[str, ...] = ()
        self._again_s = 0.0
        #: Heard last: what it wants nothing of may have to make room.
        self._desired: Desired | None = None
        #: Why that is not carried out, as far as it is not; empty = it is.
        self.hindrance = ""
        #: Mishaps by stable name.
        self._counters: Counter[str] = Counter()
        self._nominations = Nominations(surroundings.spool)
        self._wiring = Wiring(
            source=_open_source, sinks=self._sinks, configuration=self._configuration, now=surroundings.now
        )
        #: What was read last, for the time in which it cannot be.
        self._configurations: dict[str, Deployment] = {}
        self._starts = Starts(state.starts, power_on=boot_id(), now_s=time.monotonic())

    def __iter__(self) -> Iterator[tuple[str, Deployed]]:
        """By name, in order; safe in any thread."""
        return iter(sorted(self._deployed.items(), key=lambda item: item[0]))

    def start(self) -> None:
        """Set up what has a folder here; this start is on disk before a model answers."""
        self._unusable = tuple(name for name in self._state.configured() if not self._succeeds(self._make, name))
        if self._around.has_disk:
            falls = self._starts.falls(self._standings())
            if falls is not None:
                self._deployed[falls].updates.fall()
        for name, _ in self:
            self._succeeds(self._resume, name)
        if self._around.has_disk:
            self._starts.count(self._standings())
        for _, deployed in self:
            deployed.feed.start()

    def stop(self) -> None:
        """End all threads; what is under way goes on with the next start."""
        self._starts.prove()
        for _, deployed in self:
            deployed.updates.close()
        for _, deployed in self:
            deployed.feed.stop(_STOP_TIMEOUT_S)
        until_s = time.monotonic() + _STOP_TIMEOUT_S
        for _, deployed in self:
            deployed.worker.close(max(0.0, until_s - time.monotonic()))

    def configured(self, name: str) -> None:
        """The owner changed a deployment's configuration.

        Raises:
            MessageError: there are too many.
            PlatformError, OSError: it cannot be set up.
        """
        self._get(name).feed.look_again()

    @property
    def counters(self) -> Counter[str]:
        """Mishaps by stable name."""
        damaged = Counter({"starts.damaged": self._starts.damaged})
        return self._counters + self._nominations.counters + damaged

    def feed(self, name: str, source: StreamSource, *, run: str) -> bool:
        """Let a deployment take its rows from a live source, named `run`; whether a model is there to answer them.

        Raises:
            ConflictError: it has another source.
            DatasetError: the source lacks columns that the model reads.
            MessageError, PlatformError, OSError: the deployment cannot be set up.
        """
        feed = self._get(name).feed
        if source.header is not None:
            positions("stdin", source.header, feed.core.needed)
        feed.attach(source, run=run)
        return feed.core.charge is not None

    def end_feed(self, name: str) -> None:
        """End a live source of a deployment, if it has one."""
        deployed = self._deployed.get(name)
        if deployed is not None:
            deployed.feed.detach("its owner stopped it")

    def nominate(self, command: str, request: Nominate) -> Response:
        """Answer a request for samples through the spool; the response says whether it will be.

        Raises:
            PlatformError: the spool cannot take the answer; the command may come again.
        """
        if self._nominations.are_answered(command):
            return Response(command=command, ok=True, detail="answered before")
        deployed = self._deployed.get(request.deployment)
        if deployed is None:
            reason = f"this device has no deployment {request.deployment}"
            self._nominations.answer(command, request, Pooled.nothing(reason))
            return Response(command=command, ok=False, detail=reason)
        deployed.worker.submit(partial(self._nominate, command, request, deployed))
        return Response(command=command, ok=True)

    def desire(self, desired: Desired) -> bool:
        """Hand each deployment its part; False = not every one took it, `hindrance` says why: ask again."""
        self._desired = desired
        # Those that are here come first: what shall run nothing makes room for what is new.
        parts = sorted(desired.deployments, key=lambda wanted: wanted.deployment not in self._deployed)
        hindrances = [error for wanted in parts if (error := self._desire(wanted, desired))]
        self.hindrance = "; ".join(hindrances)[: limits.MAX_DETAIL_LENGTH]
        return not hindrances

    def heard(self) -> None:
        """The server said something, whatever it is: what it wants run came before, or may come."""
        self._starts.heard()

    def acknowledged(self) -> None:
        """Records were acknowledged."""
        for _, deployed in self:
            deployed.updates.acknowledged()

    def contact(self) -> None:
        """There is a new connection."""
        for _, deployed in self:
            deployed.updates.acknowledged()
            deployed.updates.contact()

    def tick(self, now_s: float) -> None:
        """Time passed; `now_s` on a monotonic clock."""
        if self._unusable and now_s >= self._again_s:
            self._again_s = now_s + limits.RETRY_MAX.total_seconds()
            self._unusable = tuple(name for name in self._unusable if not self._succeeds(self._get, name))
        turns = self._watchdog.turns
        self._starts.tick(now_s, {f"feed-{name}": turns.get(f"feed-{name}", 0) for name, _ in self})
        for _, deployed in self:
            deployed.updates.tick()

    def settle(self, name: str) -> None:
        """Before it is stored that inputs of this deployment are over; for any thread."""
        deployed = self._deployed.get(name)
        if deployed is not None:
            deployed.updates.settle()

    def hold(self, holds: Holds) -> None:
        """The owner changed what is held."""
        self._holds = holds
        for name, deployed in self:
            deployed.updates.hold(holds.of(name))

    def sensors(self) -> dict[str, tuple[str, ...]]:
        """By deployment, the columns that its source offers, as far as that is known; safe in any thread."""
        return {name: deployed.feed.offered for name, deployed in self if deployed.feed.offered is not None}

    def states(self) -> tuple[DeploymentState, ...]:
        """For the reported state."""
        return tuple(deployed.updates.state() for _, deployed in self)

    def marks(self) -> list[tuple[int, int]]:
        """The newest (epoch, revision) that each has taken in."""
        return [deployed.updates.mark for _, deployed in self]

    # -- below ------------------------------------------------------------------------

    def _nominate(self, command: str, request: Nominate, deployed: Deployed) -> None:
        """In the deployment's worker."""
        if self._nominations.are_answered(command):
            return
        within_ns = None if request.within_ms is None else request.within_ms * 1_000_000
        try:
            pooled = deployed.feed.pooled(request.digest, within_ns=within_ns, timeout_s=_POOL_TIMEOUT_S)
            self._nominations.answer(command, request, pooled)
        except (TimeoutError, CancelledError, EdgeOpsError) as error:
            # The server asks again.
            self._failed("nomination.delayed", request.deployment, error)
            return
        self._on_change()

    def _standings(self) -> dict[str, Standing]:
        return {name: deployed.updates.standing for name, deployed in self}

    def _succeeds(self, set_up: Callable[[str], object], name: str) -> bool:
        try:
            set_up(name)
        except (EdgeOpsError, OSError) as error:
            self._failed("deployment.unusable", name, error)
            return False
        return True

    def _desire(self, wanted: DesiredDeployment, desired: Desired) -> str:
        """Why one deployment did not take its part; empty = it did."""
        try:
            self._get(wanted.deployment).updates.desire(wanted, epoch=desired.epoch, revision=desired.revision)
        except MessageError as error:
            # It is tried again every few seconds, and counted once.
            if str(error) not in self.hindrance:
                self._failed("desired.refused", wanted.deployment, error)
            return str(error)
        except (EdgeOpsError, OSError) as error:
            self._failed("desired.delayed", wanted.deployment, error)
            return str(error)
        return ""

    def _get(self, name: str) -> Deployed:
        """The deployment; a new one is set up and begins first."""
        deployed = self._deployed.get(name)
        if deployed is None:
            deployed = self._make(name)
            deployed.updates.resume()
            deployed.feed.start()
        return deployed

    def _resume(self, name: str) -> None:
        self._deployed[name].updates.resume()

    def _make(self, name: str) -> Deployed:
        if len(self._deployed) >= limits.MAX_DEPLOYMENTS and not self._make_room():
            raise MessageError(
                f"{name!r} would be deployment {len(self._deployed) + 1}; {limits.MAX_DEPLOYMENTS} is the limit, and "
                "each one here is desired, runs a model or has a source; let one of them run nothing"
            )
        folder = self._state.deployment(name)
        folder.mkdir(parents=True, exist_ok=True)
        pulse = self._watchdog.pulse(f"updates-{name}", hangs_after=limits.STEP_HANGS_AFTER)
        worker = Worker(f"updates-{name}", pulse=pulse)
        try:
            updates = Updates(
                name,
                folder,
                surroundings=replace(self._around, submit=worker.submit, turned=pulse.beat),
                on_change=lambda: self._changed(name),
                hold=self._holds.of(name),
            )
        except BaseException:
            worker.close(_STOP_TIMEOUT_S)
            raise
        pulse = self._watchdog.pulse(f"feed-{name}")
        feed = Feed(name, updates=updates, tray=self._tray, wiring=self._wiring, pulse=pulse)
        deployed = self._deployed[name] = Deployed(updates, feed, worker)
        return deployed

    def _make_room(self) -> bool:
        """Forget one deployment of which nothing is left but its name, if there is one."""
        for name, deployed in self:
            if self._is_empty(name, deployed):
                self._forget(name, deployed)
                return True
        return False

    def _is_empty(self, name: str, deployed: Deployed) -> bool:
        """Whether server and owner want nothing of it, and it runs, does and owes nothing.

        Whoever holds the fleet key for an hour can desire names that nobody knows; they must not stay for ever.
        """
        desired = self._desired
        if desired is None or deployed.updates.mark > (desired.epoch, desired.revision):
            return False
        is_wanted = any(one.deployment == name and one.digest is not None for one in desired.deployments)
        is_the_owners = self._state.configuration(name).exists() or deployed.feed.has_source
        return not is_wanted and not is_the_owners and deployed.updates.is_empty

    def _forget(self, name: str, deployed: Deployed) -> None:
        """A power cut in between leaves a folder that is as empty as before."""
        del self._deployed[name]
        for loop in (f"updates-{name}", f"feed-{name}"):
            self._watchdog.forget(loop)
        deployed.updates.close()
        deployed.feed.stop(_STOP_TIMEOUT_S)
        deployed.worker.close(_STOP_TIMEOUT_S)
        self._configurations.pop(name, None)
        shutil.rmtree(self._state.deployment(name), ignore_errors=True)
        _log.info("deployment.forgotten", extra={"deployment": name})

    def _changed(self, name: str) -> None:
        deployed = self._deployed.get(name)
        if deployed is not None:
            deployed.feed.look_again()
        self._on_change()

    def _failed(self, event: str, name: str, error: Exception) -> None:
        self._counters[event] += 1
        _log.warning(event, extra={"deployment": name, "error": error})

    def _configuration(self, name: str) -> Deployment:
        """The owner's choices; a file that cannot be used is set aside, and what was read before holds."""
        path = self._state.configuration(name)
        try:
            if name not in self._configurations or not was_set_aside(path):
                self._configurations[name] = read_deployment(self._state, name)
        except ConfigError as error:
            set_aside(path)
            self._failed("config.damaged", name, error)
            self._configurations.setdefault(name, Deployment(samples=False))
        return self._configurations[name]

    def _sinks(self, deployment: str, configuration: Deployment) -> Sequence[Sink]:
        tray = self._tray
        sinks: list[Sink] = [
            TelemetrySink(deployment, configuration.predictions, lambda data: tray.append(UpKind.PREDICTIONS, data))
        ]
        if configuration.jsonl is not None:
            sinks.append(JsonlSink(Path(configuration.jsonl)))
        if configuration.mqtt is not None:
            sinks.append(MqttSink(configuration.mqtt))
        return sinks


def _open_source(order: Replay) -> Source:
    """Every kind of source by its configuration; one so far."""
    return ReplaySource(Path(order.file), loop=order.loop)
