"""A new fleet key, from the signature of targets to what devices hear: a real link, a real broker, a device's real ear."""

from datetime import UTC, datetime

import msgspec
import pytest

from device_agent.downlink import Downlink, Refused, UnknownKey
from edgeops.digest import digest_bytes
from edgeops.protocol import messages
from edgeops.protocol.envelope import Envelope
from edgeops.protocol.topics import DownKind
from edgeops.trust.keyring import FLEET_KEYS_TARGET, decode_fleet_keys, encode_fleet_keys, fleet_keys_of
from edgeops.trust.repository import Repository
from fleet_server import fleet_key
from fleet_server.db import devices
from tests.integration.link_rig import Rig, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    try:
        rig.start_broker()
        yield rig
    finally:
        rig.close()


def heard(device, kind):
    return list(device.heard[f"edgeops/v1/down/{device.id}/{kind}"])


def epochs(device, kind):
    return {msgspec.msgpack.decode(payload, type=Envelope).epoch for payload in heard(device, kind)}


def test_the_next_fleet_key_speaks_at_once_in_the_same_session_and_says_again_what_is_wanted(rig, tmp_path):
    now = datetime.now(UTC)
    repository = Repository.create(rig.config.repository, rig.config.keys, now)
    repository.publish({FLEET_KEYS_TARGET: encode_fleet_keys(fleet_keys_of(rig.fleet_key.public))}, now)
    first = decode_fleet_keys(repository.read(FLEET_KEYS_TARGET)).accepted()
    rig.start_linked()
    device = rig.device()
    wanted = messages.DesiredDeployment(
        deployment="digits", target="models/digits/1-int8.json", digest=digest_bytes(b"model")
    )
    with rig.database.write() as connection:
        devices.set_desired(connection, device.id, wanted, now)
    eventually(lambda: heard(device, "desired"), what="the desired state of the first key")
    ear = Downlink(device.id, tmp_path / "marks.json")
    old = ear.hear(DownKind.DESIRED, heard(device, "desired")[-1], first)
    ear.carried_out(old)

    epoch, public = fleet_key.prepare(rig.config, rig.database)
    assert not fleet_key.follow(rig.config, rig.database, repository, now), "nobody signed it yet"
    repository.publish({FLEET_KEYS_TARGET: encode_fleet_keys(fleet_keys_of(public, epoch=epoch))}, now)
    assert fleet_key.follow(rig.config, rig.database, repository, now)
    assert not fleet_key.follow(rig.config, rig.database, repository, now)

    eventually(lambda: epochs(device, "desired") == {1, 2}, what="the desired state of the second key")
    payload = heard(device, "desired")[-1]
    assert isinstance(ear.hear(DownKind.DESIRED, payload, first), UnknownKey), "it asks TUF then"
    second = decode_fleet_keys(repository.read(FLEET_KEYS_TARGET)).accepted()
    again = ear.hear(DownKind.DESIRED, payload, second)
    assert (again.epoch, again.deployments) == (2, old.deployments)
    assert not isinstance(again, Refused)
    device.send_windows(1)
    eventually(lambda: epochs(device, "ack") == {2}, what="an ack of the second key")
    assert not rig.config.fleet_key(1).exists(), "the first one signs nothing any more"

    rig.end_link()
    rig.start_link()
    device.send_windows(2)
    eventually(lambda: len(heard(device, "ack")) > 1, what="an ack after a restart")
    assert epochs(device, "ack") == {2}
