"""The keys of this fleet by their public halves, and which private halves lie on this server."""

from fastapi import APIRouter

from edgeops.api.shapes import Key, KeyRole, Keys
from edgeops.protocol.keys import PublicKey, read_private_key
from edgeops.trust.repository import Repository
from fleet_server.api.callers import VIEWER
from fleet_server.api.server import Server, ServerOf
from fleet_server.config import ServerConfig
from fleet_server.db import settings

router = APIRouter(prefix="/keys", tags=["trust"], dependencies=[VIEWER])


@router.get("")
def list_keys(server: ServerOf) -> Keys:
    """The keys of the TUF roles, of delegations, and the fleet key; none of them secret."""
    return Keys(keys=(*_role_keys(server.config), _fleet_key(server)))


def _role_keys(config: ServerConfig) -> list[Key]:
    return [
        Key(
            role=KeyRole(one.role) if one.model is None else KeyRole.AUTO,
            model=one.model,
            key_id=one.key_id,
            public_hex=one.public_hex,
            expires_at=one.expires,
            on_server=one.at_hand,
        )
        for one in Repository.open(config.repository, config.keys).role_keys()
    ]


def _fleet_key(server: Server) -> Key:
    with server.database.read() as connection:
        epoch = settings.fleet_epoch(connection)
    public: PublicKey = read_private_key(server.config.fleet_key(epoch)).public
    return Key(role=KeyRole.FLEET, key_id=public.key_id, public_hex=public.hex, epoch=epoch, on_server=True)
