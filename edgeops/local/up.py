"""A whole site on one machine: broker, api, link, jobs and agents, started in order and ended together.

`Site` starts the processes, waits until each is ready, enrols agents as real devices would be (one-time
token, over loopback), starts again what ended while it is watched, and stops all in order. It reads and
changes the server's state through REST only.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from edgeops.api.client import Client
from edgeops.errors import ConfigError, EdgeOpsError, PlatformError, UnreachableError
from edgeops.local import endpoints as places
from edgeops.local import processes
from edgeops.local.endpoints import Endpoints
from edgeops.local.listening import API_PORT, BROKER_PORT, Listening
from edgeops.local.mosquitto import LOSS, choose_broker
from edgeops.local.part import Part
from edgeops.local.processes import Child
from edgeops.local.sockets import listens
from edgeops.protocol.messages import Presence
from edgeops.trust.transport import believing

DEFAULT_AGENTS = 3
MAX_AGENTS = 50

_INIT_TIMEOUT_S = 60.0
_ENROL_TIMEOUT_S = 60.0
_READY_TIMEOUT_S = 60.0
#: Children of an `up` that was killed a moment ago may still be giving their ports back.
_PORT_TIMEOUT_S = 1.0
_PORT_POLL_S = 0.02
_WATCH_S = 0.25


@dataclass(slots=True, kw_only=True)
class Agent(Part):
    """One agent process of this site and the device it is enrolled as."""

    name: str
    state: Path
    device_id: str


class Site:
    """Everything of one data folder, running from `with` to its end.

    Args:
        data: the data folder; made when absent.
        agents: how many agents to enrol (when they are not yet) and start.
        warm: import TensorFlow before the first training asks for it.
        starter: add the model that comes with the package.
        listening: where, and whether with TLS; None = on loopback without.
        say: gets one line of news for people at a time.

    Raises:
        ConfigError: a number of agents that cannot be.
        ConflictError: another process runs this data folder.
        PlatformError: no broker program, or a process that does not become ready.
    """

    endpoints: Endpoints
    client: Client

    def __init__(
        self,
        data: Path,
        *,
        agents: int = DEFAULT_AGENTS,
        warm: bool = False,
        starter: bool = False,
        listening: Listening | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not 0 <= agents <= MAX_AGENTS:
            raise ConfigError(f"{agents} agents cannot be started here; choose 0 to {MAX_AGENTS}")
        self.data = data.absolute()
        self.agents: list[Agent] = []
        #: Broker, api, link and jobs.
        self.server: list[Part] = []
        self._wanted = agents
        self._warm = warm
        self._starter = starter
        self._listening = listening or Listening()
        self._say = say
        self._endings = ExitStack()

    def __enter__(self) -> Self:
        with self._endings as endings:
            try:
                self._start()
            except EdgeOpsError:
                # It may have failed because another process had ended: then that one is named.
                self._require_all()
                raise
            except OSError as error:
                raise ConfigError(
                    f"cannot use the data folder {self.data}: {error}; mend that, or name another with --data"
                ) from error
            self._endings = endings.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._endings.close()

    @property
    def logs(self) -> Path:
        """The folder with one log per process."""
        return self.data / "run/logs"

    def watch(self, shall_end: Callable[[], bool] = lambda: False) -> None:
        """Stay until it shall end, and start again what ends; each end is told in one line.

        Called in the main thread, which the children are bound to.

        Raises:
            PlatformError: a process ended again and again.
        """
        while not shall_end():
            self.mend()
            time.sleep(_WATCH_S)

    def mend(self) -> None:
        """One look at every process, as `watch` takes them.

        Raises:
            PlatformError: a process ended again and again.
        """
        for part in (*self.server, *self.agents):
            part.mend(time.monotonic(), say=self._say)

    def require_server(self) -> None:
        """Pass while every process of the server runs.

        Raises:
            PlatformError: one ended; the message ends with its last lines.
        """
        for part in self.server:
            processes.require_running(part.child)

    def start_agent(self, agent: Agent, *, environment: Mapping[str, str] | None = None) -> None:
        """Start the process of an enrolled agent that does not run."""
        agent.child = agent.start() if environment is None else self._run_agent(agent.name, agent.state, environment)

    def stop_agent(self, agent: Agent) -> None:
        """End the process of one agent; the device stays enrolled."""
        agent.stop()

    # -- starting, in order

    def _start(self) -> None:
        mosquitto = choose_broker(self.data)
        if mosquitto is None:
            if self._listening.tls:
                raise ConfigError("the embedded broker speaks no TLS, on loopback only; install mosquitto")
            self._say(LOSS)
        places.make_folder(self.data)
        self._endings.enter_context(places.exclusive(self.data))
        self.endpoints = self._choose_endpoints()
        self._start_server(mosquitto)
        self._connect()
        self._start_agents()
        places.write_endpoints(self.data, self.endpoints)

    def _choose_endpoints(self) -> Endpoints:
        last = places.read_endpoints(self.data)
        first = (API_PORT, BROKER_PORT) if self._listening.beyond else (None, None)
        api_port, broker_port = (last.api_port, last.broker_port) if last else first
        return Endpoints(
            url=self._listening.url(self._choose_port("api", api_port)),
            broker_host=self._listening.reached_at,
            broker_port=self._choose_port("broker", broker_port),
            pid=os.getpid(),
        )

    def _choose_port(self, name: str, last: int | None) -> int:
        deadline = time.monotonic() + _PORT_TIMEOUT_S
        while (port := places.free_port(last)) != last and last is not None and time.monotonic() < deadline:
            time.sleep(_PORT_POLL_S)
        if last not in (None, port):
            if self._listening.beyond:
                raise ConfigError(f"another program holds port {last}, where devices reach the {name}; end that one")
            self._say(f"another program took port {last}: the {name} has moved to {port}")
        return port

    def _server_command(self, verb: str, *more: str) -> list[str]:
        ports = ("--api-port", str(self.endpoints.api_port), "--broker-port", str(self.endpoints.broker_port))
        where = self._listening.arguments()
        return processes.python("fleet_server.cli", verb, "--data", self.data, *ports, *where, *more)

    def _start_server(self, mosquitto: Path | None) -> None:
        """Its processes load side by side while the folder is made complete, and begin when it is."""
        command = self._server_command("init", *(["--starter"] if self._starter else []))
        init = processes.start("init", command, logs=self.logs)
        self._endings.callback(processes.stop, [init])
        program = ["--mosquitto", str(mosquitto)] if mosquitto else []
        own_log = self.data / "broker/mosquitto.log"
        broker = self._start_part("broker", self._server_command("broker", *program), own_log=own_log)
        api = self._start_part("api", self._server_command("api"))
        link = self._start_part("link", self._server_command("link"))
        jobs = self._start_part("jobs", self._server_command("jobs", *(["--warm"] if self._warm else [])))
        processes.wait_until_done(init, timeout_s=_INIT_TIMEOUT_S, meanwhile=self.require_server)
        for part in (broker, api, jobs):
            part.child.release()
        # Whose server it is counts: another program may have taken the port since it was found free, and neither the
        # link's password nor the admin's token is for that one.
        self._wait(broker, partial(listens, broker.child.pid, self.endpoints.broker_port))
        link.child.release()
        self._wait(api, partial(listens, api.child.pid, self.endpoints.api_port))

    def _start_part(self, name: str, command: Sequence[str], *, own_log: Path | None = None) -> Part:
        start = partial(processes.start, name, logs=self.logs, own_log=own_log)
        part = Part(start=partial(start, command), child=start([*command, "--held"], held=True))
        self.server.append(part)
        # Endings run last in, first out: agents, jobs, link, api, broker.
        self._endings.callback(part.stop)
        return part

    def _connect(self) -> None:
        token = places.admin_token_file(self.data).read_text().strip()
        authorities = places.authorities_file(self.data) if self._listening.tls else None
        context = believing(authorities, judges_time=authorities is None)
        self.client = self._endings.enter_context(Client(self.endpoints.url, token, context=context))

    # -- agents

    def _start_agents(self) -> None:
        self._endings.callback(lambda: processes.stop([agent.child for agent in self.agents]))
        names = [f"agent-{number}" for number in range(1, self._wanted + 1)]
        enrolling = self._enrol([name for name in names if not _device_file(self._state(name)).exists()])
        for name in names:
            if name in enrolling:
                processes.wait_until_done(enrolling[name], timeout_s=_ENROL_TIMEOUT_S, meanwhile=self._require_all)
            state = self._state(name)
            device_id = _read_device_id(state)
            start = partial(self._run_agent, name, state)
            self.agents.append(Agent(start=start, child=start(), name=name, state=state, device_id=device_id))
        for agent in self.agents:
            self._wait(agent, partial(self._is_online, agent))

    def _is_online(self, agent: Agent) -> bool:
        try:
            device = self.client.device(agent.device_id)
        except UnreachableError:  # the next look at the children tells whether the api has ended
            return False
        return device.presence == Presence.ONLINE and device.facts is not None

    def _state(self, name: str) -> Path:
        return self.data / "devices" / name

    def _enrol(self, names: Sequence[str]) -> Mapping[str, Child]:
        """What enrols each of them, side by side."""
        started: dict[str, Child] = {}
        if not names:
            return started
        tokens = self.client.enrolment_tokens(len(names))
        self._endings.callback(lambda: processes.stop(list(started.values())))
        for name, token in zip(names, tokens, strict=True):
            state = self._state(name)
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            arguments = ("enrol", self.endpoints.url, "--token", token.token, "--name", name)
            command = processes.python("device_agent.cli", "--state", state, *arguments)
            started[name] = processes.start(f"{name}.enrol", command, logs=self.logs)
        return started

    def _run_agent(self, name: str, state: Path, environment: Mapping[str, str] | None = None) -> Child:
        broker = f"{self.endpoints.broker_host}:{self.endpoints.broker_port}"
        # Ports move between two runs of `up`; what enrolment told the agent may be out of date.
        moved = ("--broker", broker, "--server", self.endpoints.url)
        command = processes.python("device_agent.cli", "--state", state, "run", *moved)
        return processes.start(name, command, logs=self.logs, environment=environment)

    def _wait(self, part: Part, ready: Callable[[], bool]) -> None:
        processes.wait_until_ready(part.child, ready, timeout_s=_READY_TIMEOUT_S, meanwhile=self._require_all)

    def _require_all(self) -> None:
        self.require_server()
        for agent in self.agents:
            processes.require_running(agent.child)


class _DeviceFile(msgspec.Struct, frozen=True):
    """What this module reads of an agent's `device.json`."""

    id: str


def _device_file(state: Path) -> Path:
    return state / "device.json"


def _read_device_id(state: Path) -> str:
    path = _device_file(state)
    try:
        return msgspec.json.decode(path.read_bytes(), type=_DeviceFile).id
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlatformError(f"cannot read {path}: {error}; remove {state} to enrol this agent again") from error
