"""The fleet keys: with which keys the server may sign what it says to devices.

They are the TUF target `fleet/keys.json`, signed offline by the targets role. This module reads and
writes that document; it neither verifies TUF metadata nor opens envelopes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from edgeops.errors import TrustError
from edgeops.protocol.keys import PublicKey

FLEET_KEYS_TARGET = "fleet/keys.json"
#: One current key and those that are being replaced.
_MAX_KEYS = 16

_Epoch = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class FleetKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key and the epoch it began."""

    epoch: _Epoch
    public_hex: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class FleetKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All accepted keys; `epoch` is the newest."""

    epoch: _Epoch
    keys: Annotated[tuple[FleetKey, ...], msgspec.Meta(min_length=1, max_length=_MAX_KEYS)]

    def accepted(self) -> "AcceptedKeys":
        """Whom a device listens to."""
        publics = [(PublicKey.from_hex(key.public_hex), key.epoch) for key in self.keys]
        return AcceptedKeys(
            {public.key_id: public for public, _ in publics}, {public.key_id: epoch for public, epoch in publics}
        )


@dataclass(frozen=True, slots=True)
class AcceptedKeys:
    """Whom a device listens to, by key id; nobody before the keys were learnt."""

    #: As `open_envelope` wants them.
    publics: Mapping[str, PublicKey] = field(default_factory=dict)
    #: The epoch in which each key speaks: it is no other's to say.
    epochs: Mapping[str, int] = field(default_factory=dict)


def fleet_keys_of(public: PublicKey, *, epoch: int = 1) -> FleetKeys:
    """The document that names one key: that of a new fleet, or the one after all before it."""
    return FleetKeys(epoch=epoch, keys=(FleetKey(epoch=epoch, public_hex=public.hex),))


def encode_fleet_keys(keys: FleetKeys) -> bytes:
    """The target's content."""
    return msgspec.json.encode(keys, order="sorted")


def decode_fleet_keys(data: bytes) -> FleetKeys:
    """Read content that TUF vouches for.

    Raises:
        TrustError: not a list of fleet keys.
    """
    try:
        keys = msgspec.json.decode(data, type=FleetKeys)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrustError(f"{FLEET_KEYS_TARGET} is not a list of fleet keys: {error}") from error
    if keys.epoch != max(key.epoch for key in keys.keys):
        raise TrustError(f"{FLEET_KEYS_TARGET} says epoch {keys.epoch}, which is not that of its newest key")
    return keys
