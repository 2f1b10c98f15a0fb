"""What time it is, said by the server under its fleet key, in answer to a question that never was asked before.

A device whose clock may be wrong asks before it refuses a certificate as ended. The nonce makes the answer fresh: one
that was recorded answers nothing. It is signed with a prefix of its own, so that no other signature of the fleet key
is one of these. Pure; who asks and who answers is elsewhere.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from edgeops.errors import TrustError
from edgeops.protocol.keys import PublicKey, SigningKey
from edgeops.protocol.messages import Moment

NONCE_BYTES = 16
_PREFIX = b"edgeops-moment-v1\0"


class _Answer(msgspec.Struct, frozen=True):
    at: Moment
    key_id: str
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


def sign_moment(key: SigningKey, nonce: bytes, at: datetime) -> bytes:
    """The signature over a nonce and a moment, to the millisecond."""
    return key.sign(_signed(nonce, at))


def read_moment(data: bytes, keys: Mapping[str, PublicKey], *, nonce: bytes) -> datetime:
    """The moment that the server's answer (JSON) proves.

    Raises:
        TrustError: no answer, or as `check_moment`.
    """
    try:
        answer = msgspec.json.decode(data, type=_Answer)
        at = answer.at.astimezone(UTC)  # of the first day there may be no such moment
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise TrustError(f"not an answer about the time: {error}") from error
    signature = bytes.fromhex(answer.signature)
    return check_moment(keys, nonce=nonce, at=at, key_id=answer.key_id, signature=signature)


def check_moment(
    keys: Mapping[str, PublicKey], *, nonce: bytes, at: datetime, key_id: str, signature: bytes
) -> datetime:
    """The moment, once it is proven.

    Raises:
        TrustError: not signed by a fleet key, or an answer to another question.
    """
    key = keys.get(key_id)
    if key is None:
        raise TrustError(f"the time is signed by {key_id[:16]!r}, which is no key of this fleet")
    if not key.verifies(signature, _signed(nonce, at)):
        raise TrustError("the time that was answered is not what the fleet key signed for this question")
    return at


def _signed(nonce: bytes, at: datetime) -> bytes:
    return _PREFIX + msgspec.msgpack.encode([nonce, int(at.astimezone(UTC).timestamp() * 1000)])
