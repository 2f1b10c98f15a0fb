"""What a device asks before it can believe this server over TLS; open, because the answers prove themselves.

The CAs are held against a fingerprint that a person brought; the time is signed by the fleet key.
"""

from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import Authorities, ServerTime
from edgeops.protocol.keys import read_private_key
from edgeops.trust.moment import NONCE_BYTES, sign_moment
from fleet_server.api.server import ServerOf
from fleet_server.certificates import listed_authorities
from fleet_server.db import settings

router = APIRouter(tags=["trust"])

_Nonce = Annotated[str, Query(pattern=rf"^[0-9a-f]{{{2 * NONCE_BYTES}}}$", description="Random, from the asker.")]


@router.get("/authorities")
def read_authorities(server: ServerOf) -> Authorities:
    """The CAs that sign this server's certificates, oldest first."""
    return Authorities(certificates=tuple(one.pem for one in listed_authorities(server.config)))


@router.get("/time")
def read_time(server: ServerOf, nonce: _Nonce) -> ServerTime:
    """What time it is, signed together with the nonce."""
    with server.database.read() as connection:
        key = read_private_key(server.config.fleet_key(settings.fleet_epoch(connection)))
    # To the millisecond, as it is signed.
    now = server.now()
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    signature = sign_moment(key, bytes.fromhex(nonce), now)
    return ServerTime(at=now, key_id=key.public.key_id, signature=signature.hex())
