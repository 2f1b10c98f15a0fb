"""What a device believes of what arrives, and what it remembers of it over a restart."""

from datetime import UTC, datetime

import pytest

from device_agent.downlink import Downlink, Refused, UnknownKey
from edgeops.digest import digest_bytes
from edgeops.protocol import messages
from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Ack, Command, Credit, Desired, Nominate
from edgeops.protocol.topics import DownKind
from edgeops.trust.keyring import AcceptedKeys, fleet_keys_of

DEVICE = "meter-one"
REQUEST = Nominate(deployment="gas", digest=digest_bytes(b"a"), count=3, random_share=0.2, seed=1)

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Fleet:
    """A server that speaks; each `start` is a new session."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.epoch = 1
        self.start(1)

    @property
    def keys(self) -> AcceptedKeys:
        return fleet_keys_of(self.key.public, epoch=self.epoch).accepted()

    def rotate(self) -> None:
        self.key = SigningKey.generate()
        self.epoch += 1
        self.start(1)

    def start(self, counter: int) -> None:
        self._speaker = Speaker(DEVICE, self.key, self.epoch, Session(counter, bytes([counter % 256]) * 8))
        self._seq = 0

    def say(self, kind: DownKind, body) -> bytes:
        self._seq += 1
        return seal(self._speaker, kind, seq=self._seq, body=messages.encode(body))


@pytest.fixture
def fleet():
    return Fleet()


@pytest.fixture
def ear(tmp_path):
    return Downlink(DEVICE, tmp_path / "marks.json")


def desired(revision: int, epoch: int = 1) -> Desired:
    return Desired(epoch=epoch, revision=revision, deployments=())


def test_a_signed_message_is_heard(ear, fleet):
    credit = ear.hear(DownKind.CREDIT, fleet.say(DownKind.CREDIT, Credit(records=9, at=NOW)), fleet.keys)
    assert credit == Credit(records=9, at=NOW)


def test_each_message_has_a_place_above_all_before_it_by_epoch_session_and_number(ear, fleet):
    """What was said of the time is ordered by it."""
    places = []
    for change in (lambda: None, lambda: None, lambda: fleet.start(7), fleet.rotate):
        change()
        ear.hear(DownKind.CREDIT, fleet.say(DownKind.CREDIT, Credit(records=9, at=NOW)), fleet.keys)
        places.append(ear.place(DownKind.CREDIT))
    assert places == [(1, 1, 1), (1, 1, 2), (1, 7, 1), (2, 1, 1)]


def test_a_wrong_signature_is_refused(ear, fleet):
    payload = bytearray(fleet.say(DownKind.CREDIT, Credit(records=9, at=NOW)))
    payload[-1] ^= 1
    heard = ear.hear(DownKind.CREDIT, bytes(payload), fleet.keys)
    assert isinstance(heard, Refused)
    assert heard.name == "envelope.signature"
    assert "wrong signature" in heard.detail


def test_a_key_that_nobody_named_is_asked_for_before_anything_is_judged(ear, fleet):
    assert ear.hear(
        DownKind.CREDIT, fleet.say(DownKind.CREDIT, Credit(records=9, at=NOW)), AcceptedKeys()
    ) == UnknownKey(fleet.key.public.key_id)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"not msgpack at all", b"\x99" * 40, bytes(70_000)])
def test_what_cannot_be_parsed_is_refused(ear, fleet, payload):
    assert isinstance(ear.hear(DownKind.ACK, payload, fleet.keys), Refused)


def test_a_message_of_another_topic_is_refused(ear, fleet):
    assert isinstance(
        ear.hear(DownKind.ACK, fleet.say(DownKind.CREDIT, Credit(records=9, at=NOW)), fleet.keys), Refused
    )


def test_a_body_of_another_kind_is_refused(ear, fleet):
    assert isinstance(ear.hear(DownKind.ACK, fleet.say(DownKind.ACK, Credit(records=9, at=NOW)), fleet.keys), Refused)


def test_a_repeated_message_is_counted_and_not_heard_again(ear, fleet):
    payload = fleet.say(DownKind.ACK, Ack(spools=()))
    assert ear.hear(DownKind.ACK, payload, fleet.keys) == Ack(spools=())
    assert ear.hear(DownKind.ACK, payload, fleet.keys).name == "envelope.repeated"


def test_an_older_session_of_the_fleet_is_refused_also_after_a_restart(ear, fleet, tmp_path):
    old = fleet.say(DownKind.CREDIT, Credit(records=1, at=NOW))
    fleet.start(2)
    ear.hear(DownKind.CREDIT, fleet.say(DownKind.CREDIT, Credit(records=2, at=NOW)), fleet.keys)
    again = Downlink(DEVICE, tmp_path / "marks.json")
    assert again.hear(DownKind.CREDIT, old, fleet.keys).name == "envelope.old-session"


def test_a_command_is_never_carried_out_twice_across_a_restart(ear, fleet, tmp_path):
    fleet.say(DownKind.COMMAND, Command(command="cmd-1", request=REQUEST))
    payload = fleet.say(DownKind.COMMAND, Command(command="cmd-2", request=REQUEST))
    ear.hear(DownKind.COMMAND, payload, fleet.keys)
    again = Downlink(DEVICE, tmp_path / "marks.json")
    assert again.hear(DownKind.COMMAND, payload, fleet.keys).name == "envelope.repeated"


def test_a_desired_state_that_was_not_carried_out_is_heard_again_after_a_crash(ear, fleet, tmp_path):
    payload = fleet.say(DownKind.DESIRED, desired(5))
    assert ear.hear(DownKind.DESIRED, payload, fleet.keys) == desired(5)
    again = Downlink(DEVICE, tmp_path / "marks.json")
    assert again.hear(DownKind.DESIRED, payload, fleet.keys) == desired(5)
    again.carried_out(desired(5))
    third = Downlink(DEVICE, tmp_path / "marks.json")
    assert third.desired == (1, 5)
    assert third.hear(DownKind.DESIRED, payload, fleet.keys).name == "envelope.repeated"


def test_an_older_desired_state_is_ignored_although_it_is_new_on_the_wire(ear, fleet):
    ear.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(5)), fleet.keys)
    ear.carried_out(desired(5))
    assert ear.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(4)), fleet.keys).name == "desired.older"
    fleet.rotate()
    assert ear.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(1, epoch=2)), fleet.keys) == desired(1, 2)


def test_a_new_fleet_key_is_heard_whatever_the_stolen_one_had_counted_up_to(ear, fleet, tmp_path):
    fleet.start(2**53)
    ear.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(2**53)), fleet.keys)
    ear.carried_out(desired(2**53))
    fleet.rotate()
    again = Downlink(DEVICE, tmp_path / "marks.json")
    assert again.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(1, epoch=2)), fleet.keys) == desired(1, 2)


def test_a_stolen_key_cannot_speak_for_an_epoch_that_is_not_its_own(ear, fleet):
    accepted = fleet.keys
    fleet.epoch = 2**53
    fleet.start(1)
    assert ear.hear(DownKind.ACK, fleet.say(DownKind.ACK, Ack(spools=())), accepted).name == "envelope.wrong-epoch"
    fleet.epoch = 1
    fleet.start(2)
    ahead = fleet.say(DownKind.DESIRED, desired(1, epoch=2))
    assert ear.hear(DownKind.DESIRED, ahead, accepted).name == "envelope.wrong-epoch"
    assert ear.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(1)), accepted) == desired(1)


def test_once_the_new_key_has_spoken_the_old_one_is_refused_also_where_both_are_listed(ear, fleet, tmp_path):
    old, before = fleet.say(DownKind.ACK, Ack(spools=())), fleet.keys
    fleet.rotate()
    both = AcceptedKeys({**before.publics, **fleet.keys.publics}, {**before.epochs, **fleet.keys.epochs})
    ear.hear(DownKind.CREDIT, fleet.say(DownKind.CREDIT, Credit(records=9, at=NOW)), both)
    again = Downlink(DEVICE, tmp_path / "marks.json")
    assert again.hear(DownKind.ACK, old, both).name == "envelope.old-epoch"


def test_what_the_old_key_signed_in_flight_makes_a_device_ask_and_is_not_heard(ear, fleet):
    in_flight, old = fleet.say(DownKind.ACK, Ack(spools=())), fleet.key.public.key_id
    fleet.rotate()
    assert ear.hear(DownKind.ACK, in_flight, fleet.keys) == UnknownKey(old)


def test_a_damaged_memory_counts_as_none(tmp_path, fleet):
    (tmp_path / "marks.json").write_text("{")
    ear = Downlink(DEVICE, tmp_path / "marks.json")
    assert ear.desired == (0, 0)
    assert ear.hear(DownKind.DESIRED, fleet.say(DownKind.DESIRED, desired(5)), fleet.keys) == desired(5)
