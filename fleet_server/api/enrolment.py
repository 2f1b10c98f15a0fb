"""How a device gets in: an operator makes one-time tokens, a device spends one."""

from fastapi import APIRouter, Request

from edgeops.api.shapes import (
    BrokerAccess,
    Enrolment,
    EnrolmentToken,
    EnrolmentTokens,
    EnrolmentTokensRequest,
    EnrolRequest,
)
from edgeops.protocol.keys import PublicKey
from fleet_server.api.callers import Operator
from fleet_server.api.once import Act
from fleet_server.api.promises import may_fail
from fleet_server.api.server import ServerOf
from fleet_server.certificates import pinned
from fleet_server.enrolment import Newcomer, enrol

router = APIRouter(tags=["devices"], route_class=Act)


@router.post("/enrolment-tokens", status_code=201)
def create_enrolment_tokens(
    server: ServerOf, caller: Operator, wanted: EnrolmentTokensRequest | None = None
) -> EnrolmentTokens:
    """One-time tokens, each for one device, good for an hour; shown this once."""
    count = 1 if wanted is None else wanted.count
    made = server.access.create_enrolment_tokens(count, created_by=caller.name, now=server.now())
    return EnrolmentTokens(
        tokens=tuple(
            EnrolmentToken(id=one.row.id, token=pinned(server.config, one.text), expires_at=one.row.expires_at)
            for one in made
        )
    )


@router.post("/enrol", status_code=201, responses=may_fail(403))
def enrol_device(server: ServerOf, request: Request, wanted: EnrolRequest) -> Enrolment:
    """A device introduces itself; the one-time token inside is its right to do so."""
    newcomer = Newcomer(wanted.name, wanted.hardware, PublicKey.from_hex(wanted.public_key), wanted.agent_version)
    welcome = enrol(
        server.config, server.database, server.access, token=wanted.token, newcomer=newcomer, now=server.now()
    )
    return Enrolment(
        device_id=welcome.device_id,
        broker=BrokerAccess(
            host=server.config.broker_host_for(request.base_url.hostname),
            port=server.config.broker_port,
            username=welcome.device_id,
            password=welcome.password,
        ),
        root=welcome.root.decode(),
        # As the device reached us, which a proxy or another interface may name differently than we do.
        tuf_url=f"{str(request.base_url).rstrip('/')}/tuf",
    )
