"""Who calls, and whether their role allows it.

`dependencies=[VIEWER]` guards an endpoint or a router; a parameter of type `Operator` does too, and names
the caller. An endpoint with neither is open.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from edgeops.api.roles import Role
from fleet_server.access import Identity
from fleet_server.api.server import ServerOf

_BEARER = HTTPBearer(auto_error=False, description="A token from `edgeops-server token` or POST /tokens.")
#: RFC 6750, 3.
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="edgeops"'}


def _caller(
    server: ServerOf, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Identity:
    if credentials is None:
        raise HTTPException(401, "no bearer token; send `Authorization: Bearer <token>`", _CHALLENGE)
    identity = server.access.identify(credentials.credentials, now=server.now())
    if identity is None:
        raise HTTPException(401, "the token is unknown or revoked; ask an admin for another one", _CHALLENGE)
    return identity


def _require(role: Role) -> Callable[[Identity], Identity]:
    def check(identity: Annotated[Identity, Depends(_caller)]) -> Identity:
        if not identity.may_act_as(role):
            raise HTTPException(
                403, f"the token {identity.name!r} is a {identity.role}; this needs the role {role} or more"
            )
        return identity

    return check


VIEWER = Depends(_require(Role.VIEWER))
OPERATOR = Depends(_require(Role.OPERATOR))
ADMIN = Depends(_require(Role.ADMIN))

Operator = Annotated[Identity, OPERATOR]
Admin = Annotated[Identity, ADMIN]
