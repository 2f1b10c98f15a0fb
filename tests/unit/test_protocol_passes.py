"""A pass for one blob: signed by its device, good for nothing else."""

import pytest

from edgeops.digest import digest_bytes
from edgeops.errors import EnvelopeError, MessageError
from edgeops.protocol.envelope import Session, Speaker, open_envelope, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import MetaWish, encode
from edgeops.protocol.passes import KIND, SCHEME, open_pass, read_pass, write_pass

BLOB = digest_bytes(b"a")
KEY = SigningKey.generate()
KEYS = {KEY.public.key_id: KEY.public}
SPEAKER = Speaker("meter-1a2b", KEY, 0, Session(3, b"12345678"))


def test_a_pass_comes_back_as_it_was_written():
    shown = read_pass(write_pass(SPEAKER, BLOB, seq=7))
    assert shown.device == "meter-1a2b"
    envelope = open_pass(shown, BLOB, keys=KEYS)
    assert (envelope.session, envelope.seq) == (SPEAKER.session, 7)


def test_a_pass_opens_no_other_blob():
    shown = read_pass(write_pass(SPEAKER, BLOB, seq=7))
    with pytest.raises(MessageError, match="not for"):
        open_pass(shown, digest_bytes(b"b"), keys=KEYS)


def test_a_pass_of_another_key_or_device_is_refused():
    other = SigningKey.generate()
    shown = read_pass(write_pass(SPEAKER, BLOB, seq=7))
    with pytest.raises(EnvelopeError):
        open_pass(shown, BLOB, keys={KEY.public.key_id: other.public})
    named = read_pass(write_pass(SPEAKER, BLOB, seq=7).replace("meter-1a2b", "meter-ffff"))
    with pytest.raises(EnvelopeError):
        open_pass(named, BLOB, keys=KEYS)


def test_what_was_signed_for_a_topic_is_no_pass_and_the_other_way_round():
    wish = seal(SPEAKER, "fetch", seq=1, body=encode(MetaWish(request=1, path="a")))
    shown = read_pass(write_pass(SPEAKER, BLOB, seq=1))
    with pytest.raises(EnvelopeError):
        open_pass(type(shown)(shown.device, wish), BLOB, keys=KEYS)
    with pytest.raises(EnvelopeError):
        open_envelope(shown.payload, device=SPEAKER.device, kind="fetch", keys=KEYS)
    assert KIND != "fetch"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer x",
        SCHEME,
        f"{SCHEME} meter-1a2b",
        f"{SCHEME} ../x AAAA",
        f"{SCHEME} meter-1a2b ä",
        f"{SCHEME} meter-1a2b {'A' * 2000}",
    ],
)
def test_what_is_no_pass_is_refused(header):
    with pytest.raises(MessageError):
        open_pass(read_pass(header), BLOB, keys=KEYS)
