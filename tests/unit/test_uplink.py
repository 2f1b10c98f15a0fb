"""What a device says arrives in the order of its numbers, whichever threads say it."""

import sys
from threading import Thread

import msgspec
import pytest

from device_agent.uplink import Uplink
from edgeops.protocol.envelope import Envelope
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import MetaWish
from edgeops.protocol.topics import UpKind

WISHES = 200


@pytest.fixture
def hasty_interpreter():
    """Threads take turns so often that an order that may go wrong does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_interpreter")
def test_what_two_workers_say_is_handed_over_in_the_order_of_its_numbers():
    handed_over = []
    uplink = Uplink(
        "pump-0001",
        SigningKey.generate(),
        boot=1,
        agent_version="1.0",
        publish=lambda _, payload: handed_over.append(payload) is None,
    )

    def ask() -> None:
        for request in range(WISHES):
            uplink.say(UpKind.FETCH, MetaWish(request=request, path="metadata/timestamp.json"))

    workers = [Thread(target=ask) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    numbers = [msgspec.msgpack.decode(payload, type=Envelope).seq for payload in handed_over]
    assert numbers == list(range(1, 2 * WISHES + 1))
