"""What an envelope must look like before anybody believes it."""

import msgspec
import pytest

from edgeops.errors import EnvelopeError, MessageError
from edgeops.protocol.envelope import VERSION, Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey

KEY = SigningKey.generate()
KEYS = {KEY.public.key_id: KEY.public}
NONCE = bytes(8)


def sealed(*, seq: int = 0, counter: int = 1, nonce: bytes = NONCE, epoch: int = 0) -> bytes:
    return seal(Speaker("meter-1", KEY, epoch, Session(counter, nonce)), "status", seq=seq, body=b"body")


def opened(payload: bytes):
    return open_envelope(payload, device="meter-1", kind="status", keys=KEYS)


def test_what_was_sealed_opens():
    envelope = opened(sealed(seq=2**53, counter=2**53))
    assert (envelope.v, envelope.body, envelope.seq) == (VERSION, b"body", 2**53)


@pytest.mark.parametrize(
    "bounds",
    [
        {"seq": -1},
        {"seq": 2**53 + 1},
        {"counter": -1},
        {"counter": 2**63},
        {"epoch": -1},
        {"epoch": 2**60},
        {"nonce": b""},
        {"nonce": bytes(9)},
    ],
)
def test_a_number_that_no_database_holds_is_refused_although_the_signature_is_right(bounds):
    with pytest.raises(MessageError):
        opened(sealed(**bounds))


def test_a_session_with_more_fields_is_refused():
    fields = msgspec.msgpack.decode(sealed())
    fields[5].append("more")
    with pytest.raises(MessageError):
        opened(msgspec.msgpack.encode(fields))


def test_a_changed_field_breaks_the_signature():
    fields = msgspec.msgpack.decode(sealed())
    fields[6] += 1
    with pytest.raises(EnvelopeError):
        opened(msgspec.msgpack.encode(fields))
