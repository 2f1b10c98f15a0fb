"""What a device shows to read a blob over HTTP: an envelope that it signed itself, for one digest.

It stands in the Authorization header (RFC 9110, 11.6.2) as `EdgeOps-Device <device id> <base64url>`. Its kind is no
topic's, so it says nothing over MQTT. Whether the device and its session are accepted is the server's question.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from edgeops import limits
from edgeops.errors import MessageError
from edgeops.protocol.envelope import Envelope, Speaker, open_envelope, seal
from edgeops.protocol.keys import PublicKey
from edgeops.protocol.messages import Body, Digest, decode, encode
from edgeops.protocol.topics import is_id

SCHEME = "EdgeOps-Device"
#: The envelope's kind.
KIND = "blob"


class BlobPass(Body, frozen=True, kw_only=True):
    """The right that is claimed."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class ShownPass:
    """A pass as it arrived: nothing in it is believed yet."""

    device: str
    payload: bytes


def write_pass(speaker: Speaker, digest: str, *, seq: int) -> str:
    """The header's value for one blob."""
    payload = seal(speaker, KIND, seq=seq, body=encode(BlobPass(digest=digest)))
    return f"{SCHEME} {speaker.device} {base64.urlsafe_b64encode(payload).decode('ascii')}"


def read_pass(header: str) -> ShownPass:
    """Take the header's value apart.

    Raises:
        MessageError: it is no pass.
    """
    scheme, _, rest = header.partition(" ")
    device, _, text = rest.partition(" ")
    if scheme != SCHEME or not is_id(device) or not 0 < len(text) <= limits.MAX_PASS_LENGTH:
        raise MessageError(f"not a pass: {header[:60]!r}; expected `{SCHEME} <device id> <base64url>`")
    try:
        return ShownPass(device, base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"not a pass: {error}") from error


def open_pass(shown: ShownPass, digest: str, *, keys: Mapping[str, PublicKey]) -> Envelope:
    """Verify a pass for the blob `digest`; `keys` are the device's accepted keys by key id.

    Raises:
        MessageError: not an envelope, not a pass inside, or one for another blob.
        EnvelopeError: an unknown key, or a wrong signature.
    """
    envelope = open_envelope(shown.payload, device=shown.device, kind=KIND, keys=keys)
    claimed = decode(envelope.body, BlobPass).digest
    if claimed != digest:
        raise MessageError(f"the pass is for {claimed}, not for {digest}")
    return envelope
