"""Who may write and hear what: a device its own, the server ours, nobody anything else."""

import pytest

from edgeops.protocol.access import may_hear, may_publish, may_subscribe
from edgeops.protocol.topics import DownKind, UpKind

SERVER = "edgeops-server"
UP, DOWN, BLOB = "edgeops/v1/up/cam-1/status", "edgeops/v1/down/cam-1/ack", f"edgeops/v1/blob/{'a' * 64}/0"


@pytest.mark.parametrize(
    ("topic", "writers", "hearers"),
    [
        *((f"edgeops/v1/up/cam-1/{kind}", {"cam-1"}, {SERVER}) for kind in UpKind),
        *((f"edgeops/v1/down/cam-1/{kind}", {SERVER}, {"cam-1"}) for kind in DownKind),
        (BLOB, {SERVER}, {SERVER, "cam-1", "cam-2"}),
        *(
            (topic, set(), set())
            for topic in ("$SYS/x", "edgeops/v1/up/cam-1/status/x", "edgeops/v1/up/cam-1", "x", "")
        ),
    ],
)
def test_every_topic_has_its_writers_and_hearers(topic, writers, hearers):
    everybody = {SERVER, "cam-1", "cam-2"}
    assert {user for user in everybody if may_publish(user, topic, server_user=SERVER)} == writers
    assert {user for user in everybody if may_hear(user, topic, server_user=SERVER)} == hearers


@pytest.mark.parametrize(
    "topic_filter", ["#", "+/+/+/+/+", "$SYS/#", "edgeops/v1/up/cam-1/+", "$share/g/" + DOWN, DOWN]
)
def test_a_device_subscribes_to_nothing_that_may_be_anothers(topic_filter):
    assert not may_subscribe("cam-2", topic_filter, server_user=SERVER)


@pytest.mark.parametrize("topic_filter", ["edgeops/v1/down/cam-1/+", DOWN, BLOB])
def test_a_device_subscribes_to_its_own(topic_filter):
    assert may_subscribe("cam-1", topic_filter, server_user=SERVER)


def test_the_server_subscribes_to_what_devices_say():
    assert may_subscribe(SERVER, "edgeops/v1/up/+/+", server_user=SERVER)
    assert not may_subscribe(SERVER, "#", server_user=SERVER)
