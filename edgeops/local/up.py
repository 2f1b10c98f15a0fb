"""A whole site on one machine: broker, api, link, jobs and agents, started in order and ended together.

`Site` starts the processes, waits until each is ready, enrols agents as real devices would be (one-time
token, over loopback) and stops all in order. It does not restart what ended, and it reads and changes
the server's state through REST only.
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
from edgeops.errors import ConfigError, PlatformError
from edgeops.local import endpoints as places
from edgeops.local import processes
from edgeops.local.endpoints import Endpoints
from edgeops.local.mosquitto import find_mosquitto
from edgeops.local.processes import Child
from edgeops.protocol.messages import Presence

DEFAULT_AGENTS = 3
MAX_AGENTS = 50

_INIT_TIMEOUT_S = 60.0
_ENROL_TIMEOUT_S = 60.0
_READY_TIMEOUT_S = 60.0
_WATCH_S = 0.25


@dataclass(slots=True)
class Agent:
    """One agent process of this site and the device it is enrolled as."""

    name: str
    state: Path
    device_id: str
    child: Child


class Site:
    """Everything of one data folder, running from `with` to its end.

    Args:
        data: the data folder; made when absent.
        agents: how many agents to enrol (when they are not yet) and start.
        warm: import TensorFlow before the first training asks for it.
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
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not 0 <= agents <= MAX_AGENTS:
            raise ConfigError(f"{agents} agents cannot be started here; choose 0 to {MAX_AGENTS}")
        self.data = data.absolute()
        self.agents: list[Agent] = []
        #: Broker, api, link and jobs.
        self.server: list[Child] = []
        self._wanted = agents
        self._warm = warm
        self._say = say
        self._endings = ExitStack()

    def __enter__(self) -> Self:
        with self._endings as endings:
            self._start()
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

    def watch(self) -> None:
        """Stay while the server is whole; an agent that ends is told once, the others go on.

        Raises:
            PlatformError: a process of the server ended.
        """
        told: set[int] = set()
        while True:
            for child in self.server:
                processes.require_running(child)
            for agent in self.agents:
                if agent.child.pid not in told and not agent.child.running:
                    told.add(agent.child.pid)
                    self._say(f"{processes.describe_end(agent.child)}")
            time.sleep(_WATCH_S)

    def start_agent(self, agent: Agent, *, environment: Mapping[str, str] | None = None) -> None:
        """Start the process of an enrolled agent that does not run."""
        agent.child = self._run_agent(agent.name, agent.state, environment)

    def stop_agent(self, agent: Agent) -> None:
        """End the process of one agent; the device stays enrolled."""
        processes.stop([agent.child])

    # -- starting, in order

    def _start(self) -> None:
        mosquitto = find_mosquitto(self.data)
        places.make_folder(self.data)
        self._endings.enter_context(places.exclusive(self.data))
        self.endpoints = self._choose_endpoints()
        self._initialise()
        self._start_server(mosquitto)
        self._connect()
        self._start_agents()
        places.write_endpoints(self.data, self.endpoints)

    def _choose_endpoints(self) -> Endpoints:
        last = places.read_endpoints(self.data)
        api_port = places.free_port(last.api_port if last else None)
        broker_port = places.free_port(last.broker_port if last else None)
        return Endpoints(
            url=f"http://{places.LOOPBACK}:{api_port}",
            broker_host=places.LOOPBACK,
            broker_port=broker_port,
            pid=os.getpid(),
        )

    def _server_command(self, verb: str, *more: str) -> list[str]:
        ports = ("--api-port", str(self.endpoints.api_port), "--broker-port", str(self.endpoints.broker_port))
        return processes.python("fleet_server.cli", verb, "--data", self.data, *ports, *more)

    def _initialise(self) -> None:
        child = processes.start("init", self._server_command("init"), logs=self.logs)
        processes.wait_until_done(child, timeout_s=_INIT_TIMEOUT_S)

    def _start_server(self, mosquitto: Path) -> None:
        configuration = str(self.data / "broker/mosquitto.conf")
        broker = self._start_part("broker", [str(mosquitto), "-c", configuration])
        api = self._start_part("api", self._server_command("api"))
        # The link needs the broker to be there, and imports long enough for that; the rest starts side by side.
        self._start_part("link", self._server_command("link"))
        self._start_part("jobs", self._server_command("jobs", *(["--warm"] if self._warm else [])))
        for child, port in ((broker, self.endpoints.broker_port), (api, self.endpoints.api_port)):
            self._wait(child, partial(places.is_listening, port))

    def _start_part(self, name: str, command: Sequence[str]) -> Child:
        child = processes.start(name, command, logs=self.logs)
        self.server.append(child)
        # Endings run last in, first out: agents, jobs, link, api, broker.
        self._endings.callback(processes.stop, [child])
        return child

    def _connect(self) -> None:
        token = places.admin_token_file(self.data).read_text().strip()
        self.client = self._endings.enter_context(Client(self.endpoints.url, token))

    # -- agents

    def _start_agents(self) -> None:
        self._endings.callback(lambda: processes.stop([agent.child for agent in self.agents]))
        names = [f"agent-{number}" for number in range(1, self._wanted + 1)]
        self._enrol([name for name in names if not _device_file(self._state(name)).exists()])
        for name in names:
            state = self._state(name)
            self.agents.append(Agent(name, state, _read_device_id(state), self._run_agent(name, state)))
        for agent in self.agents:
            self._wait(agent.child, partial(self._is_online, agent))

    def _is_online(self, agent: Agent) -> bool:
        device = self.client.device(agent.device_id)
        return device.presence == Presence.ONLINE and device.facts is not None

    def _state(self, name: str) -> Path:
        return self.data / "devices" / name

    def _enrol(self, names: Sequence[str]) -> None:
        if not names:
            return
        tokens = self.client.enrolment_tokens(len(names))
        started = []
        for name, token in zip(names, tokens, strict=True):
            state = self._state(name)
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            arguments = ("enrol", self.endpoints.url, "--token", token.token, "--name", name)
            command = processes.python("device_agent.cli", "--state", state, *arguments)
            started.append(processes.start(f"{name}.enrol", command, logs=self.logs))
        self._endings.callback(processes.stop, started)
        for child in started:
            processes.wait_until_done(child, timeout_s=_ENROL_TIMEOUT_S)

    def _run_agent(self, name: str, state: Path, environment: Mapping[str, str] | None = None) -> Child:
        broker = f"{self.endpoints.broker_host}:{self.endpoints.broker_port}"
        # Ports move between two runs of `up`; what enrolment told the agent may be out of date.
        command = processes.python("device_agent.cli", "--state", state, "run", "--broker", broker)
        return processes.start(name, command, logs=self.logs, environment=environment)

    def _wait(self, child: Child, ready: Callable[[], bool]) -> None:
        processes.wait_until_ready(child, ready, timeout_s=_READY_TIMEOUT_S)


class _DeviceFile(msgspec.Struct, frozen=True):
    """What this module reads of an agent's `device.json`."""

    id: str


def _device_file(state: Path) -> Path:
    return state / "device.json"


def _read_device_id(state: Path) -> str:
    path = _device_file(state)
    try:
        return msgspec.json.decode(path.read_bytes(), type=_DeviceFile).id
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlatformError(f"cannot read {path}: {error}; remove {state} to enrol this agent again") from error
