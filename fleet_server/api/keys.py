"""The keys of this fleet by their public halves, and the changes of what is signed with those that people hold."""

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from edgeops.api.shapes import Key, KeyRole, Keys, NextKey, NextKeyRequest, SignedToday, Submitted, shape_of
from edgeops.protocol.keys import PublicKey, read_private_key
from edgeops.trust.repository import Repository
from fleet_server import key_changes
from fleet_server.api.callers import VIEWER, Admin, Operator
from fleet_server.api.once import Act, OnceOf
from fleet_server.api.server import Server, ServerOf
from fleet_server.config import ServerConfig
from fleet_server.db import audit, settings

router = APIRouter(prefix="/keys", tags=["trust"], dependencies=[VIEWER], route_class=Act)

_CHANGE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("")
def list_keys(server: ServerOf) -> Keys:
    """The keys of the TUF roles, of delegations, and the fleet key; none of them secret."""
    return Keys(keys=(*_role_keys(server.config), _fleet_key(server)))


@router.get("/today")
def read_today(server: ServerOf) -> SignedToday:
    """What is signed offline today: what a change begins with."""
    base = Repository.open(server.config.repository, server.config.keys).base()
    return SignedToday(
        roots=tuple(root.to_bytes().decode() for root in base.roots), targets=base.targets.to_bytes().decode()
    )


@router.post("/next", status_code=201)
def make_next_key(server: ServerOf, caller: Admin, wanted: NextKeyRequest) -> NextKey:
    """Make a key of this server that a change shall trust; one that was made before and never trusted is forgotten."""
    # In one transaction, which a repetition of the same request waits for.
    with server.database.together(), server.database.write() as connection:
        public, epoch = key_changes.next_key(server.config, server.database, wanted.role, wanted.model)
        data = {"role": wanted.role, "model": wanted.model}
        audit.append(connection, caller.name, "key.prepared", public.key_id, data, server.now())
    return NextKey(role=wanted.role, public_hex=public.hex, epoch=epoch)


@router.post("/changes", response_model=Submitted, openapi_extra=_CHANGE)
async def submit_change(server: ServerOf, caller: Operator, request: Request, once: OnceOf) -> Submitted | Response:
    """Publish a change that enough people signed; the body is its file. Harmless to repeat."""
    data = await request.body()

    def submit() -> Submitted:
        outcome = key_changes.submit(server.config, server.database, data, submitted_by=caller.name, now=server.now())
        return shape_of(Submitted, outcome)

    return await run_in_threadpool(once, submit, said=data, status=200)


def _role_keys(config: ServerConfig) -> list[Key]:
    return [
        Key(
            role=KeyRole(one.role) if one.model is None else KeyRole.AUTO,
            model=one.model,
            key_id=one.key_id,
            public_hex=one.public_hex,
            expires_at=one.expires,
            threshold=one.threshold,
            on_server=one.at_hand,
        )
        for one in Repository.open(config.repository, config.keys).role_keys()
    ]


def _fleet_key(server: Server) -> Key:
    with server.database.read() as connection:
        epoch = settings.fleet_epoch(connection)
    public: PublicKey = read_private_key(server.config.fleet_key(epoch)).public
    return Key(role=KeyRole.FLEET, key_id=public.key_id, public_hex=public.hex, epoch=epoch, on_server=True)
