"""The keys of this fleet by their public halves, and which private halves lie on this server."""

import msgspec
from fastapi import APIRouter

from edgeops.api.shapes import Key, KeyRole, Keys
from edgeops.errors import TrustError
from edgeops.protocol.keys import PublicKey, read_private_key
from edgeops.trust.repository import Repository
from fleet_server.api.callers import VIEWER
from fleet_server.api.server import Server, ServerOf
from fleet_server.config import ServerConfig
from fleet_server.db import settings

router = APIRouter(prefix="/keys", tags=["trust"], dependencies=[VIEWER])


class _KeyValue(msgspec.Struct, frozen=True):
    public: str


class _RootKey(msgspec.Struct, frozen=True):
    keyval: _KeyValue


class _RootRole(msgspec.Struct, frozen=True):
    keyids: tuple[str, ...]


class _Signed(msgspec.Struct, frozen=True):
    keys: dict[str, _RootKey]
    roles: dict[str, _RootRole]


class _Root(msgspec.Struct, frozen=True):
    """What is read of root metadata (TUF specification, 4.3)."""

    signed: _Signed


@router.get("")
def list_keys(server: ServerOf) -> Keys:
    """The keys of the TUF roles and the fleet key, none of them secret."""
    return Keys(keys=(*_role_keys(server.config), _fleet_key(server)))


def _role_keys(config: ServerConfig) -> list[Key]:
    try:
        trusted = Repository.open(config.repository, config.keys).trusted_root()
        root = msgspec.json.decode(trusted, type=_Root).signed
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrustError(f"the root metadata in {config.metadata} is damaged: {error}") from error
    return [
        Key(
            role=KeyRole(role),
            key_id=key_id,
            public_hex=root.keys[key_id].keyval.public,
            on_server=(config.keys / f"{role}.pem").exists(),
        )
        for role, entry in root.roles.items()
        for key_id in entry.keyids
    ]


def _fleet_key(server: Server) -> Key:
    with server.database.read() as connection:
        epoch = settings.fleet_epoch(connection)
    public: PublicKey = read_private_key(server.config.fleet_key(epoch)).public
    return Key(role=KeyRole.FLEET, key_id=public.key_id, public_hex=public.hex, epoch=epoch, on_server=True)
