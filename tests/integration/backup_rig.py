"""A site whose server is lost, its devices, and the address at which they look for it."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from device_agent.control import ask
from edgeops.artifact.manifest import encode_value, target_path
from edgeops.errors import UnreachableError
from edgeops.local import processes
from edgeops.protocol.messages import Presence
from fleet_server import starter
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import models, runs
from fleet_server.db.database import Database
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_descriptor, tiny_rows
from tests.integration.waiting import ask_until

MODEL = "pump"
DEPLOYMENT = "pump-1"
VARIANT = "int8"
DEADLINE_S = 90.0

eventually = partial(ask_until, seconds=DEADLINE_S)


def edgeops(*words, **options):
    """The command line of a person, as a program of its own."""
    command = [sys.executable, "-m", "edgeops.cli.entry", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, **options)


def add_version(data: Path, version: int, artifact: bytes | None = None) -> str:
    """A version of a tiny model that nobody had to train; its digest. The tables are where the site's processes look."""
    config = ServerConfig(data, database=os.environ.get("EDGEOPS_DATABASE"))
    artifact = artifact or tiny_artifact(MODEL, version)
    described = tiny_descriptor(artifact)
    now, run = datetime.now(UTC), f"run-of-{version}"
    snapshot = starter.descriptor().manifest.lineage.snapshot
    Blobs(config).put(artifact)
    database = Database.of(config)
    with database.write() as connection:
        runs.start(
            connection, run, job_id=run, model=MODEL, snapshot=snapshot, recipe="tiny", seed=7, parameters={}, now=now
        )
        runs.succeed(connection, run, metrics={}, now=now)
        models.add_version(connection, MODEL, version, task=described.manifest.task, run_id=run, now=now)
        models.add_artifact(
            connection,
            models.Artifact(
                digest=described.digest,
                model=MODEL,
                version=version,
                variant=described.manifest.variant,
                size_bytes=described.size_bytes,
                tflite_bytes=described.size_bytes,
                target=target_path(described.manifest),
                descriptor=encode_value(described),
                created_at=now,
                published_at=None,
                withdrawn_at=None,
            ),
        )
    database.close()
    return described.digest


def publish(client, version):
    assert client.wait_job(client.publish(MODEL, version).id).error is None


#: What is backed up is of interest here, not which model is the better one: all versions say the same. No bake, for the
#: service clock stands still for two minutes after a restore.
QUICK = {
    "bake": 0,
    "shadow_share": 1.0,
    "shadow_cpu": 0.5,
    "health": {"min_rows": 40, "labels": 0, "max_loss": 0.4, "max_error_rise": 0.2, "min_latency_rise_ms": 50},
}


def roll_out(client, version, *, to="all", waves=("100%",)):
    """Roll a version out, and wait for its end."""
    made = client.create_rollout(
        MODEL, version, variant=VARIANT, deployment=DEPLOYMENT, to=to, waves=waves, policy=QUICK
    )
    eventually(lambda: client.rollout(made.id).state != "running", what=f"the rollout of {version} ended")
    return client.rollout(made.id)


class Agent:
    """A device of its own, which no site starts or stops."""

    def __init__(self, folder: Path, name: str, site) -> None:
        self.state = folder / name
        self.name = name
        self._logs = folder / "logs"
        self.state.mkdir(mode=0o700, parents=True)
        [token] = site.client.enrolment_tokens(1)
        self._command("enrol", site.endpoints.url, "--token", token.token, "--name", name)
        [self.id] = [one.id for one in site.client.devices() if one.name == name]
        file = folder / "rows.npz"
        if not file.exists():
            np.savez(file, X=tiny_rows(2_000)[0], columns=np.array(COLUMNS))
        self.start()
        self._command("replay", file, "--deployment", DEPLOYMENT, "--rate", "100", "--predictions", "off")

    def start(self, *options, **environment: str) -> None:
        self.child = processes.start(
            self.name, self._line("run", *options), logs=self._logs, environment=environment or None
        )
        eventually(self._answers, what="the agent answers its owner")

    def status(self):
        return ask(self.state / "agent.sock", {"do": "status"})

    @property
    def active(self) -> str | None:
        return next((one["active"] for one in self.status()["deployments"]), None)

    def deployment(self):
        return self.status()["deployments"][0]

    def close(self) -> None:
        processes.stop([self.child])

    def _answers(self) -> bool:
        with contextlib.suppress(UnreachableError):
            return bool(self.status())
        return False

    def _line(self, *words):
        return processes.python("device_agent.cli", "--state", self.state, *words)

    def _command(self, *words) -> None:
        child = processes.start(f"{self.name}.command", self._line(*words), logs=self._logs)
        processes.wait_until_done(child, timeout_s=DEADLINE_S)


def online(client, agents) -> bool:
    return all(client.device(one.id).presence == Presence.ONLINE for one in agents)


class Forward:
    """What an operator's port mapping does: connections to an old address arrive at a new one."""

    def __init__(self, port: int, to: int) -> None:
        self.port = port
        #: New connections arrive here.
        self.to = to
        #: How much came back through here.
        self.returned_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        for one in self._open:
            one.close()

    def _start(self, run, *arguments) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:  # nobody is there now; who came will come again
                    near.close()
                    continue
                self._open += [near, far]
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(self._pump, near, far, 0)
                self._start(self._pump, far, near, 1)

    def _pump(self, source, sink, counted: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.returned_bytes += counted * len(data)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
