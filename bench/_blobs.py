"""A site for rows about artifacts on their way: a real broker and link, devices that run the real fetch machine."""

import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgeops.protocol.topics import client_id
from tests.integration.fetch_rig import enrol, fetch_all
from tests.integration.link_rig import Rig

MIB = 1024 * 1024


@contextmanager
def site(**rates: int) -> Iterator[Any]:
    """Broker and link of one data folder, with these rates."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        rig.folder = Path(folder)
        try:
            rig.rates = rates
            rig.start_broker()
            rig.start_linked()
            yield rig
        finally:
            rig.close()


class BlockCounter:
    """Counts the PUBLISH messages below blob/, as a device that hears them all."""

    def __init__(self, port: int, identity: tuple[str, str, str]) -> None:
        self.messages = 0
        name, password, _ = identity
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id(name), protocol=paho.MQTTv5)
        self._client.username_pw_set(name, password)
        self._client.on_connect = lambda client, *_: client.subscribe("edgeops/v1/blob/+/+", qos=0)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._count
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(30.0)

    def _count(self, *_: Any) -> None:
        self.messages += 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def fetched(rig: Any, devices: int, descriptor: Any, *, spread_s: float = 0.0) -> tuple[int, list[float]]:
    """Block messages for so many devices, each starting at a moment of its own within `spread_s`, and their times."""
    counting, *identities = enrol(rig, 1 + devices, rig.folder / "keys")
    drawn = random.Random(1)
    delays = [drawn.uniform(0.0, spread_s) for _ in identities]
    port, folder = rig.config.broker_port, rig.folder / "fleet"
    counter = BlockCounter(port, counting)
    try:
        taken = fetch_all(port, identities, descriptor, folder, delays=delays, seconds=300.0)
    finally:
        counter.close()
    return counter.messages, sorted(taken)
