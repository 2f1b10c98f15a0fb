"""One agent: its threads, its queue, and the real world around them.

The main thread owns what is said to the server and takes one event after the other; the link's thread
delivers, two threads per deployment infer and update, one learns new fleet keys, one answers the owner.
What each of them decides is elsewhere: `core`, `updates`, `hearing`, `owner`, `store`. This module wires and routes.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, assert_never

from device_agent.benchmark import run_benchmark
from device_agent.blessing import Blessings
from device_agent.clock import Clock
from device_agent.config import Device, StateFolder, reserve_bytes
from device_agent.control import ControlServer
from device_agent.deployments import Deployments
from device_agent.disk import take_disk
from device_agent.downlink import Downlink, Heard
from device_agent.events import is_told
from device_agent.facts import device_facts, resident_bytes
from device_agent.fetch import BlockFetch, MetaFetch
from device_agent.hearing import Hearing
from device_agent.holds import Holds, read_holds
from device_agent.labels import read_labels
from device_agent.link import Arrived, Broker, Connected, Disconnected, Link, LinkEvent, NotBelieved
from device_agent.owner import Configured, Feeding, Instructed, Owner
from device_agent.pacing import Backoff
from device_agent.probe import run_probe
from device_agent.pump import Pump
from device_agent.ranges import RangeFetch
from device_agent.reporting import Reporter
from device_agent.status import counters, deployment_status
from device_agent.store.spool import Spool
from device_agent.store.tray import Tray
from device_agent.tls import FleetTls
from device_agent.trust import FleetKeys, Trust, root_version
from device_agent.updates import Surroundings
from device_agent.uplink import Uplink
from device_agent.verdict_child import in_turn
from device_agent.watchdog import Watchdog
from device_agent.wayback import Wayback, speaks_tls
from device_agent.worker import Worker
from edgeops import __version__, limits
from edgeops.digest import sweep
from edgeops.errors import EdgeOpsError, MessageError, PlatformError
from edgeops.model.runtime import runtime_facts
from edgeops.protocol import messages
from edgeops.protocol.keys import read_private_key
from edgeops.protocol.messages import (
    Ack,
    Benchmark,
    Command,
    Credit,
    Desired,
    DeviceFacts,
    MetaPart,
    Nominate,
    Response,
    Wish,
)
from edgeops.protocol.topics import Block, Down, DownKind, UpKind
from edgeops.structs import learn_all
from edgeops.update.update import RESTING

_log = logging.getLogger(__name__)

_TICK_S = 0.25
_STOP_TIMEOUT_S = 5.0
#: Messages that wait for the main thread; a flood beyond it is dropped and counted.
_MAX_WAITING = 1_000


class Ending(Enum):
    """Why an agent ended by itself, or was ended."""

    STOPPED = auto()
    #: It began without a disk; another one begins with it.
    DISK_IS_BACK = auto()
    #: Another one begins with a new spool.
    SPOOL_IS_DAMAGED = auto()


class _Nudge:
    """Something changed somewhere: look."""


_Event = Connected | Disconnected | NotBelieved | Arrived | _Nudge | Configured | Instructed | Feeding


class Agent:
    """One enrolled device at work."""

    def __init__(
        self, state: StateFolder, device: Device, *, broker: tuple[str, int] | None = None, server: str | None = None
    ) -> None:
        """`broker` and `server` override where enrolment said they are.

        Raises:
            ConfigError: a file of the state folder cannot be used, or a server or broker beyond loopback without TLS.
            PlatformError: the spool cannot be opened, or no runtime is installed.
        """
        # Before the first thread is there: native code is loaded, and types are learnt.
        runtime_facts()
        learn_all()
        self._state = state
        self._device = device
        self._counters: Counter[str] = Counter()
        sweep(state.path, (file.name for file in (state.boot, state.starts, state.marks, state.clock)))
        self._clock = Clock(state.clock)
        self._queue: SimpleQueue[_Event] = SimpleQueue()
        self._nudged = False
        #: Attempts to connect that failed in a row.
        self._failed_connects = 0
        self._stopping = False
        #: Why another agent shall begin in this process; None = none shall.
        self._again: Ending | None = None
        self._watchdog = Watchdog()
        self._pulse = self._watchdog.pulse("main")
        host, port = broker or (device.broker_host, device.broker_port)
        server = server or device.server
        self._tls = FleetTls(state.trust, now=self._clock.present)
        tls = self._tls.context() if speaks_tls(server) else None
        self._link = Link(
            Broker(host, port, device.broker_user, device.broker_password, tls),
            will=lambda: self._uplink.last_will(),  # noqa: PLW0108 - the uplink comes after the link it speaks through
            on_event=self._deliver,
            pulse=self._watchdog.pulse("link"),
        )
        disk = take_disk(state, at_least_s=self._clock.now_s(), on_damage=partial(self._damaged, "boot.damaged"))
        #: The disk took this start: without its number nothing may be said to the server, who would meet it twice.
        self._has_disk = disk is not None
        self._disk_look = Backoff()
        self._disk_look.failed()
        self._uplink = Uplink(
            device.id,
            read_private_key(state.key),
            boot=0 if disk is None else disk.boot,
            agent_version=__version__,
            publish=self._link.publish,
        )
        self._downlink = Downlink(device.id, state.marks)
        self._spool = Spool.in_memory(instead_of=state.spool) if disk is None else disk.spool
        self._tray = Tray(
            self._spool,
            settle=lambda name: self._deployments.settle(name),  # noqa: PLW0108 - the deployments come after the tray
        )
        hangs_after = limits.STEP_HANGS_AFTER
        self._worker = Worker("fleet-keys", pulse=self._watchdog.pulse("fleet-keys", hangs_after=hangs_after))
        self._meta = MetaFetch(self)
        self._ranges = RangeFetch.at(server, blob_pass=self._uplink.blob_pass, context=tls)
        self._blocks = BlockFetch(self, ranges=self._ranges)
        self._keys = FleetKeys(state.trust)
        self._trust = Trust(state.trust, self._meta, self._clock, self._keys)
        self._wayback = Wayback(
            server,
            tls=self._tls,
            clock=self._clock,
            keys=self._keys,
            trust=self._trust,
            submit=self._worker.submit,
        )
        self._hearing = Hearing(
            device.id,
            self._downlink,
            keys=self._keys,
            trust=self._trust,
            submit=self._worker.submit,
            repeat=self._queue.put,
        )
        self._pump = Pump(self._spool, self._link, self._uplink)
        trying = Lock()
        surroundings = Surroundings(
            spool=self._spool,
            trust=self._trust,
            meta=self._meta,
            blocks=self._blocks,
            facts=self._facts,
            now=self._clock.certain,
            submit=self._worker.submit,
            probe=in_turn(trying, run_probe),
            has_disk=self._has_disk,
            reserve_bytes=reserve_bytes(os.environ),
        )
        #: What the owner calls the device by.
        self._labels = self._read_labels()
        self._deployments = Deployments(
            state,
            surroundings,
            self._tray,
            on_change=self._nudge,
            watchdog=self._watchdog,
            holds=self._read_holds(),
        )
        pulse = self._watchdog.pulse("benchmarks", hangs_after=hangs_after)
        self._bench = Worker("benchmarks", pulse=pulse)
        self._blessings = Blessings(
            state.benchmark,
            replace(surroundings, submit=self._bench.submit, turned=pulse.beat),
            is_busy=lambda: any(one.state not in RESTING for one in self._deployments.states()),
            on_change=self._nudge,
            run=in_turn(trying, run_benchmark),
        )
        #: A desired state that is heard and not yet stored by every deployment.
        self._unfinished: Desired | None = None
        self._carry_out_s = self._ticked_s = 0.0
        self._reporter = Reporter(self._uplink, facts=self._facts)
        self._control = self._open_control()

    # -- life ---------------------------------------------------------------------------

    def run(self) -> Ending:
        """Work until `stop`, or until another agent would do better, whose disk or spool is whole."""
        self._deployments.start()
        if self._control is not None:
            self._control.start()
        if self._has_disk:
            self._link.start()
        self._watchdog.start()
        _log.info("agent.started", extra={"device": self._device.id, "session": self._uplink.session.counter})
        while self._ending is None:
            self._pulse.beat()
            try:
                event = self._queue.get(timeout=_TICK_S)
            except Empty:
                event = _Nudge()
            self._try(partial(self._handle, event), event=type(event).__name__)
            if self._spool.is_damaged:
                self._begin_again(Ending.SPOOL_IS_DAMAGED)
        self._end()
        return self._ending

    def stop(self) -> None:
        """End `run` soon; safe in a signal handler."""
        self._stopping = True
        self._queue.put(_Nudge())

    @property
    def _ending(self) -> Ending | None:
        """None = it works. Whoever stops it wants no other one."""
        return Ending.STOPPED if self._stopping else self._again

    def _begin_again(self, why: Ending) -> None:
        _log.warning("agent.begins-again", extra={"why": why.name})
        self._again = why

    def _end(self) -> None:
        self._watchdog.close(goes_on=not self._stopping)
        self._deployments.stop()
        self._tray.close(_STOP_TIMEOUT_S)
        if self._control is not None:
            self._control.close()
        self._try(self._pump.send, event="stop")
        if self._has_disk:
            self._uplink.farewell()
            self._link.close()
        self._worker.close(_STOP_TIMEOUT_S)
        self._bench.close(0)
        if self._ranges is not None:
            self._ranges.close()
        self._spool.close()
        _log.info("agent.stopped", extra={"device": self._device.id})

    def _open_control(self) -> ControlServer | None:
        """Without one the owner cannot ask; a disk that takes no socket is no reason to answer no inputs."""
        try:
            return ControlServer(
                self._state.socket, Owner(self._state, status=self._status, tell=self._queue.put).answer
            )
        except PlatformError as error:
            self._counters["control.errors"] += 1
            _log.warning("control.unavailable", extra={"error": error})
            return None

    def _read_labels(self) -> dict[str, str]:
        return read_labels(self._state, on_damage=partial(self._damaged, "labels.damaged"))

    def _read_holds(self) -> Holds:
        return read_holds(self._state, on_damage=partial(self._damaged, "holds.damaged"))

    def _damaged(self, name: str, error: Exception) -> None:
        """A file was, and is set aside."""
        self._counters[name] += 1
        _log.warning(name, extra={"error": error})

    def _try(self, act: Callable[[], None], *, event: str) -> None:
        try:
            act()
        except EdgeOpsError as error:
            self._counters["agent.errors"] += 1
            _log.warning("event.failed", extra={"event": event, "error": error})
        except Exception:  # noqa: BLE001 - the border of the main loop: one bad event must not end the agent
            self._counters["agent.errors"] += 1
            _log.exception("event.failed", extra={"event": event})

    # -- what other threads call ----------------------------------------------------------

    def _deliver(self, event: LinkEvent) -> None:
        """The link's thread: parts and blocks go straight to who waits for them, the rest into the queue."""
        if isinstance(event, Arrived):
            match event.topic:
                case Block():
                    self._blocks.received(event.topic, event.payload)
                    return
                case Down(kind=DownKind.META):
                    self._received_part(event.payload)
                    return
            if self._queue.qsize() >= _MAX_WAITING:
                self._counters["message.dropped"] += 1
                return
        self._queue.put(event)

    def _received_part(self, payload: bytes) -> None:
        try:
            self._meta.received(messages.decode(payload, MetaPart))
        except MessageError as error:
            self._counters["message.refused"] += 1
            _log.warning("message.refused", extra={"kind": DownKind.META, "error": error})

    def _nudge(self) -> None:
        """Any thread: there may be something to send."""
        if not self._nudged:
            self._nudged = True
            self._queue.put(_Nudge())

    def publish_wish(self, wish: Wish) -> bool:
        """For fetching: ask the server for a part or for blocks."""
        return self._uplink.say(UpKind.FETCH, wish)

    def subscribe_blocks(self, blocks: Sequence[Block]) -> None:
        """For fetching: hear exactly these blocks."""
        self._link.subscribe(blocks, qos=0)

    def unsubscribe_blocks(self, blocks: Sequence[Block]) -> None:
        """For fetching: hear them no more."""
        self._link.unsubscribe(blocks)

    def largest_payload_bytes(self) -> int:
        """For fetching: what the broker takes in one message."""
        return self._link.largest_payload_bytes

    # -- the main thread --------------------------------------------------------------------

    def _handle(self, event: _Event) -> None:  # noqa: C901 - one case an event
        match event:
            case Connected():
                self._failed_connects = 0
                self._blocks.reconnected()
                self._born()
            case Disconnected():
                self._spool.no_contact()
                self._tell_no_link(logging.INFO, "link.down", event.reason)
            case NotBelieved():
                self._tell_no_link(logging.WARNING, "link.not-believed", f"{event.reason}; {self._clock}")
                self._wayback.not_believed(time.monotonic())
            case Arrived():
                heard = self._hearing.hear(event)
                if heard is not None:
                    self._act_on(heard)
            case Configured():
                if event.stopped:
                    self._deployments.end_feed(event.deployment)
                self._deployments.configured(event.deployment)
            case Instructed():
                self._labels = self._read_labels()
                self._deployments.hold(self._read_holds())
            case Feeding():
                self._take_feed(event)
            case _Nudge():
                self._nudged = False
            case _:
                assert_never(event)
        self._tick()
        self._pump.send()
        self._report()

    def _tell_no_link(self, level: int, name: str, reason: str) -> None:
        """A day away has thousands of them."""
        self._failed_connects += 1
        if is_told(self._failed_connects):
            _log.log(level, name, extra={"reason": reason, "attempts": self._failed_connects})

    def _take_feed(self, event: Feeding) -> None:
        try:
            event.taken.set_result(self._deployments.feed(event.deployment, event.source, run=event.run))
        except (EdgeOpsError, OSError) as error:
            event.taken.set_exception(error)

    def _tick(self) -> None:
        """What waits for time to pass, however busy the queue is."""
        now_s = time.monotonic()
        if now_s - self._ticked_s >= _TICK_S:
            self._ticked_s = now_s
            if self._link.connected:
                self._wayback.connected(now_s)
            if now_s >= self._carry_out_s:
                self._carry_out()
            self._deployments.tick(now_s)
        if not self._has_disk and self._disk_look.wait_s() == 0:
            self._look_for_disk()

    def _look_for_disk(self) -> None:
        self._disk_look.failed()
        disk = take_disk(self._state, at_least_s=self._clock.now_s(), level=logging.DEBUG)
        if disk is not None:
            disk.spool.close()
            self._begin_again(Ending.DISK_IS_BACK)

    def _born(self) -> None:
        """A new connection: hear first, then say who is here and what runs, then what waits."""
        _log.info("link.up")
        device = self._device.id
        self._link.subscribe([Down(device, kind) for kind in DownKind], qos=1)
        self._uplink.birth()
        self._reporter.forget()
        self._report()
        self._spool.lost_contact()
        self._deployments.contact()

    def _act_on(self, heard: Heard) -> None:
        self._deployments.heard()
        match heard:
            case Desired():
                self._unfinished = heard
                self._carry_out()
            case Ack():
                acknowledged = [seq for ack in heard.spools for seq in self._spool.acknowledge(ack)]
                if acknowledged:
                    self._deployments.acknowledged()
            case Credit():
                self._pump.credit = heard.records
                self._link.spread_over(timedelta(milliseconds=heard.reconnect_spread_ms))
                self._clock.told(heard.at, place=self._downlink.place(DownKind.CREDIT))
            case Command():
                self._uplink.say(UpKind.RESPONSE, self._carry(heard))
            case _:
                assert_never(heard)

    def _carry(self, command: Command) -> Response:
        match command.request:
            case Nominate():
                return self._deployments.nominate(command.command, command.request)
            case Benchmark():
                return self._blessings.answer(command.command, command.request)
            case _:
                assert_never(command.request)

    def _carry_out(self) -> None:
        """Hand a desired state to its deployments; on a full disk it stays unfinished and is tried again."""
        desired = self._unfinished
        if desired is None:
            return
        self._carry_out_s = time.monotonic() + limits.UPDATE_RETRY_AFTER.total_seconds()
        if self._deployments.desire(desired):
            self._downlink.carried_out(desired)
            self._unfinished = None

    def _report(self) -> None:
        if not self._link.connected:
            return
        self._reporter.report(
            desired=max([self._downlink.desired, *self._deployments.marks()]),
            deployments=self._deployments.states(),
            named=(self._labels, self._deployments.sensors()),
            hindrance=self._deployments.hindrance,
            counters=self._all_counters,
            refusals=self._hearing.refusals,
            now_s=time.monotonic(),
        )

    def _facts(self) -> DeviceFacts:
        return device_facts(self._state.path, labels=self._labels, sensors=self._deployments.sensors())

    # -- what is told about it -----------------------------------------------------------------

    def _all_counters(self) -> dict[str, int]:
        # A copy first: other threads count while this one adds up.
        own = Counter(self._counters) + self._deployments.counters
        own += Counter(self._hearing.counters)
        own += Counter(self._spool.counters) + Counter(self._tray.counters)
        own["worker.errors"] += self._worker.failures + self._bench.failures
        own["benchmark.delayed"] += self._blessings.failures
        own["clock.damaged"] += self._clock.damaged
        own["marks.damaged"] += self._downlink.damaged
        own["marks.unwritten"] += self._downlink.unwritten
        own["fleet-keys.damaged"] += self._keys.damaged
        own["authorities.damaged"] += self._tls.damaged
        own["trust.failures"] += self._trust.failures
        own["block.mismatched"] += self._blocks.mismatched
        return counters(own, [deployed for _, deployed in self._deployments])

    def _status(self) -> dict[str, Any]:
        return {
            "device": self._device.id,
            "name": self._device.name,
            "version": __version__,
            "server": self._device.server,
            "connected": self._link.connected,
            "session": self._uplink.session.counter,
            "desired": list(self._downlink.desired),
            "pending_records": self._spool.pending + self._tray.pending,
            "root_version": root_version(self._state.trust),
            "resident_bytes": resident_bytes(),
            "counters": self._all_counters(),
            "loops": dict(self._watchdog.turns),
            "deployments": [deployment_status(name, deployed) for name, deployed in self._deployments],
        }
