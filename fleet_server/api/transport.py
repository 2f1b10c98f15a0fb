"""The fleet's CAs, and what a device asks before it can believe this server over TLS.

The questions are open, because the answers prove themselves: a CA is held against a fingerprint that a person brought,
or TUF lists it; the time is signed by the fleet key.
"""

from typing import Annotated

from fastapi import APIRouter, Query

from edgeops.api.shapes import Authorities, Authority, ServerCertificate, ServerTime
from edgeops.protocol.keys import read_private_key
from edgeops.trust.authorities import names_in
from edgeops.trust.moment import NONCE_BYTES, sign_moment
from fleet_server import certificates
from fleet_server.api.callers import Admin
from fleet_server.api.once import Act
from fleet_server.api.server import ServerOf
from fleet_server.db import audit, settings

router = APIRouter(tags=["trust"], route_class=Act)

_Nonce = Annotated[str, Query(pattern=rf"^[0-9a-f]{{{2 * NONCE_BYTES}}}$", description="Random, from the asker.")]


@router.get("/authorities")
def read_authorities(server: ServerOf) -> Authorities:
    """The CAs that sign this server's certificates."""
    shown = certificates.shown_certificate(server.config)
    return Authorities(
        authorities=tuple(map(_shape, certificates.standings(server.config))),
        certificate=None
        if shown is None
        else ServerCertificate(names=names_in(shown), ends_at=shown.not_valid_after_utc),
    )


@router.post("/authorities", status_code=201)
def make_next_authority(server: ServerOf, caller: Admin) -> Authority:
    """Make a CA that a change shall list; one that was made before and never listed is forgotten."""
    now = server.now()
    with server.database.write() as connection:
        made = certificates.prepare(server.config, now)
        audit.append(connection, caller.name, "ca.prepared", made.authority.fingerprint, {}, now)
    return _shape(made)


@router.post("/authorities/switch")
def switch_authority(server: ServerOf, caller: Admin) -> Authority:
    """Let the newest listed CA sign the server's certificate now; harmless to repeat."""
    now = server.now()
    signing = certificates.switch(server.config, now)
    with server.database.write() as connection:
        audit.append(connection, caller.name, "ca.switched", signing.authority.fingerprint, {}, now)
    return _shape(signing)


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


def _shape(standing: certificates.Standing) -> Authority:
    one = standing.authority
    return Authority(
        fingerprint=one.fingerprint,
        pem=one.pem,
        begins_at=one.begins,
        ends_at=one.ends,
        signs=standing.signs,
        on_server=standing.at_hand,
    )
