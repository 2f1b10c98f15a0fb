"""A message that waits for newer fleet keys is heard again, whenever those come."""

from dataclasses import dataclass, field

import pytest

from device_agent.downlink import UnknownKey
from device_agent.hearing import Hearing
from device_agent.link import Arrived
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.topics import Down, DownKind
from edgeops.trust.keyring import AcceptedKeys

NEW = SigningKey.generate().public
MESSAGE = Arrived(Down("meter-1", DownKind.DESIRED), b"signed by the new key")


@dataclass
class Keys:
    accepted: AcceptedKeys = field(default_factory=AcceptedKeys)


@dataclass
class Trust:
    """Takes in the fleet's keys with every question."""

    keys: Keys

    def check(self, _targets):
        self.keys.accepted = AcceptedKeys(publics={"new": NEW}, epochs={"new": 2})


@dataclass
class Ear:
    """Judges by the keys it is given; `meanwhile` is what other threads do before its verdict is acted on."""

    meanwhile: list = field(default_factory=list)

    def hear(self, _kind, _payload, accepted):
        known = "new" in accepted.publics
        while self.meanwhile:
            self.meanwhile.pop()()
        return "heard" if known else UnknownKey("new")


@pytest.fixture
def rig():
    rig = type("Rig", (), {})()
    rig.keys, rig.ear, rig.tasks, rig.again = Keys(), Ear(), [], []
    rig.hearing = Hearing(
        "meter-1", rig.ear, keys=rig.keys, trust=Trust(rig.keys), submit=rig.tasks.append, repeat=rig.again.append
    )
    return rig


def test_it_is_heard_again_when_the_keys_are_learnt(rig):
    assert rig.hearing.hear(MESSAGE) is None
    rig.tasks.pop()()
    assert rig.again == [MESSAGE]
    assert rig.hearing.hear(MESSAGE) == "heard"


def test_it_is_heard_again_where_the_keys_are_learnt_while_it_is_judged(rig):
    rig.hearing.hear(MESSAGE)
    rig.ear.meanwhile = [rig.tasks.pop()]
    rig.hearing.hear(MESSAGE)
    assert rig.again == [MESSAGE, MESSAGE]
