"""The signed envelope around every message except blocks and TUF metadata.

A MessagePack array `[v, kind, device, key_id, epoch, session, seq, body, signature]`. `body` is the
exact bytes that were signed together with all fields before it; `kind` must equal the topic's.
Who speaks is decided by the key that verifies, never by what the payload claims.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

from edgeops.errors import EnvelopeError, MessageError
from edgeops.limits import MAX_MESSAGE_BYTES
from edgeops.protocol.keys import SIGNATURE_BYTES, PublicKey, SigningKey
from edgeops.protocol.messages import Count

VERSION = 1

#: Keeps a signature over an envelope from ever being one over something else.
_DOMAIN = b"edgeops-envelope-v1\x00"


class Session(msgspec.Struct, frozen=True, array_like=True, order=True, forbid_unknown_fields=True):
    """One start of a speaker: a persisted counter that only grows, and 64 random bits."""

    counter: Count
    nonce: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is on the wire; read one with `open_envelope`, make one with `seal`."""

    v: int
    kind: str
    device: str
    key_id: str
    epoch: Count
    session: Session
    seq: Count
    body: bytes
    signature: bytes


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The last accepted place of a speaker in one kind of message."""

    session: Session
    seq: int


class Freshness(StrEnum):
    """Where an envelope stands against what was accepted before."""

    #: Next in its session, or the first of a newer one.
    FRESH = "fresh"
    #: Seen before, or overtaken: QoS 1 repeats, and so does an attacker. Harmless, counted.
    REPEATED = "repeated"
    #: From a session older than the last one: refused and alerted.
    OLD_SESSION = "old-session"
    #: The same counter with other random bits: two speakers under one identity.
    CLONED_SESSION = "cloned-session"


class Misfit(StrEnum):
    """Why an envelope is not believed, as devices count it and the server puts it aside."""

    #: Of a protocol version that this side does not speak.
    VERSION = "version"
    #: Made for or by another device than the topic's.
    WRONG_DEVICE = "wrong-device"
    #: Made for another kind of message than the topic's.
    WRONG_KIND = "wrong-kind"
    #: By a key that is not accepted.
    UNKNOWN_KEY = "unknown-key"
    #: Not signed by the key that it names.
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who signs: the key, its epoch and this start's session."""

    device: str
    key: SigningKey
    epoch: int
    session: Session


def seal(speaker: Speaker, kind: str, *, seq: int, body: bytes) -> bytes:
    """Sign `body` and wrap it for the wire.

    Raises:
        MessageError: the payload would exceed MAX_MESSAGE_BYTES.
    """
    fields = (VERSION, kind, speaker.device, speaker.key.public.key_id, speaker.epoch, speaker.session, seq, body)
    signature = speaker.key.sign(_DOMAIN + msgspec.msgpack.encode(fields))
    payload = msgspec.msgpack.encode((*fields, signature))
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a {kind} message of {len(payload)} bytes exceeds {MAX_MESSAGE_BYTES}; send less at a time")
    return payload


def open_envelope(payload: bytes, *, device: str, kind: str, keys: Mapping[str, PublicKey]) -> Envelope:
    """Verify a payload that arrived on the topic of `device` and `kind`.

    `keys` are the accepted keys by key id: the device's own for an uplink, the fleet's for a downlink.

    Raises:
        MessageError: too large, not an envelope, or a number that no database and JSON reader can hold.
        EnvelopeError: another device, kind or version than the topic's, an unknown key, a wrong signature.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{len(payload)} bytes exceed the limit of {MAX_MESSAGE_BYTES}")
    try:
        envelope = msgspec.msgpack.decode(payload, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"not an envelope: {error}") from error
    if envelope.v != VERSION:
        raise EnvelopeError(
            f"envelope version {envelope.v}, this side speaks {VERSION}; update the older side", Misfit.VERSION
        )
    if (envelope.device, envelope.kind) != (device, kind):
        raise EnvelopeError(
            f"the envelope says {envelope.device[:63]!r}/{envelope.kind[:20]!r}, its topic {device!r}/{kind!r}",
            Misfit.WRONG_KIND if envelope.device == device else Misfit.WRONG_DEVICE,
        )
    key = keys.get(envelope.key_id)
    if key is None:
        raise EnvelopeError(f"key {envelope.key_id[:16]!r} is not accepted for {device!r}", Misfit.UNKNOWN_KEY)
    signed = _DOMAIN + msgspec.msgpack.encode(msgspec.structs.astuple(envelope)[:-1])
    if len(envelope.signature) != SIGNATURE_BYTES or not key.verifies(envelope.signature, signed):
        raise EnvelopeError(f"wrong signature on a {kind} message of {device!r}", Misfit.SIGNATURE)
    return envelope


def freshness(envelope: Envelope, last: Mark | None) -> Freshness:
    """Compare an opened envelope with the last accepted mark of the same speaker and kind."""
    if last is None or envelope.session.counter > last.session.counter:
        return Freshness.FRESH
    if envelope.session.counter < last.session.counter:
        return Freshness.OLD_SESSION
    if envelope.session.nonce != last.session.nonce:
        return Freshness.CLONED_SESSION
    return Freshness.FRESH if envelope.seq > last.seq else Freshness.REPEATED
