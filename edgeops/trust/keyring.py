"""The fleet keys: with which keys the server may sign what it says to devices.

They are the TUF target `fleet/keys.json`, signed offline by the targets role. This module reads and
writes that document; it neither verifies TUF metadata nor opens envelopes.
"""

from typing import Annotated

import msgspec

from edgeops.errors import ConfigError, TrustError
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

    def accepted(self) -> dict[str, PublicKey]:
        """The keys by key id, as `open_envelope` wants them."""
        publics = [PublicKey.from_hex(key.public_hex) for key in self.keys]
        return {public.key_id: public for public in publics}


def first_fleet_keys(public: PublicKey) -> FleetKeys:
    """The document of a new fleet: one key, epoch 1."""
    return FleetKeys(epoch=1, keys=(FleetKey(epoch=1, public_hex=public.hex),))


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
        keys.accepted()
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError, RecursionError) as error:
        raise TrustError(f"{FLEET_KEYS_TARGET} is not a list of fleet keys: {error}") from error
    if keys.epoch != max(key.epoch for key in keys.keys):
        raise TrustError(f"{FLEET_KEYS_TARGET} says epoch {keys.epoch}, which is not that of its newest key")
    return keys
