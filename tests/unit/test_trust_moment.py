"""What time it is, proven by the fleet key for one question."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from edgeops.errors import TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.moment import NONCE_BYTES, check_moment, read_moment, sign_moment

KEY, OTHER = SigningKey.generate(), SigningKey.generate()
KEYS = {KEY.public.key_id: KEY.public}
NONCE = bytes(range(NONCE_BYTES))
AT = datetime(2026, 11, 26, 12, 0, 0, 123000, tzinfo=UTC)


def checked(signature, *, nonce=NONCE, at=AT, key_id=KEY.public.key_id, keys=KEYS):
    return check_moment(keys, nonce=nonce, at=at, key_id=key_id, signature=signature)


def test_a_moment_that_was_signed_for_this_question_is_believed():
    assert checked(sign_moment(KEY, NONCE, AT)) == AT


def test_a_moment_is_the_same_in_every_time_zone():
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert checked(sign_moment(KEY, NONCE, elsewhere)) == AT


def test_what_is_signed_is_told_by_its_prefix_so_that_nothing_else_is_taken_for_it():
    # MessagePack: an array of two, 16 bytes of binary, an unsigned 64-bit number.
    milliseconds = 1795694400123
    said = b"edgeops-moment-v1\0" + b"\x92\xc4\x10" + NONCE + b"\xcf" + milliseconds.to_bytes(8, "big")
    assert KEY.public.verifies(sign_moment(KEY, NONCE, AT), said)


@pytest.mark.parametrize(
    ("signature", "changed"),
    [
        (sign_moment(OTHER, NONCE, AT), {}),
        (sign_moment(KEY, NONCE[::-1], AT), {}),
        (sign_moment(KEY, NONCE, AT + timedelta(milliseconds=1)), {}),
        (sign_moment(KEY, NONCE, AT), {"at": AT - timedelta(days=365)}),
        (b"", {}),
    ],
    ids=["another key", "another question", "another time", "another time is told", "nothing"],
)
def test_a_moment_that_was_not_signed_for_this_question_is_refused(signature, changed):
    with pytest.raises(TrustError, match="not what the fleet key signed for this question"):
        checked(signature, **changed)


def test_a_key_that_is_not_the_fleets_is_named():
    with pytest.raises(TrustError, match=f"'{OTHER.public.key_id}', which is no key of this fleet"):
        checked(sign_moment(OTHER, NONCE, AT), key_id=OTHER.public.key_id)
    with pytest.raises(TrustError, match="no key of this fleet"):
        checked(sign_moment(KEY, NONCE, AT), keys={})


def answer(**changed):
    """What the server says."""
    said = {"at": AT.isoformat(), "key_id": KEY.public.key_id, "signature": sign_moment(KEY, NONCE, AT).hex()}
    return json.dumps(said | changed).encode()


def test_an_answer_is_read_and_then_proven():
    assert read_moment(answer(), KEYS, nonce=NONCE) == AT
    with pytest.raises(TrustError, match="not what the fleet key signed"):
        read_moment(answer(), KEYS, nonce=NONCE[::-1])
    with pytest.raises(TrustError, match="no key of this fleet"):
        read_moment(answer(key_id="ab" * 32), KEYS, nonce=NONCE)


NO_ANSWERS = {
    "nothing": b"",
    "empty": b"{}",
    "deep": b"[" * 5_000,
    "deep inside": b'{"x":' + b"[" * 100_000,
    "not UTF-8": b"\xff",
    "a text that is not UTF-8": b'{"key_id":"\xff"}',
    "a word": answer(at="yesterday"),
    "a number": answer(at=5),
    "before the calendar": answer(at="0001-01-01T00:00:00+23:00"),
    "a short signature": answer(signature="ab"),
    "capitals": answer(signature="AB" * 64),
    "a line end": answer(signature="ab" * 64 + "\n"),
}


@pytest.mark.parametrize("data", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(TrustError, match=r"^(not an answer about the time: |the time that was answered is not)"):
        read_moment(data, KEYS, nonce=NONCE)
