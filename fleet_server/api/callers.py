"""Who calls, and whether their role allows it.

`dependencies=[VIEWER]` guards an endpoint or a router; a parameter of type `Operator` does too, and names
the caller. Each stands for the right that its role is there for. An endpoint with neither is open.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from edgeops.api.roles import Right, roles_with
from fleet_server.access import Identity
from fleet_server.api.server import ServerOf

_BEARER = HTTPBearer(auto_error=False, description="A token from `edgeops-server token` or POST /tokens.")
#: RFC 6750, 3.
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="edgeops"'}


def _caller(
    request: Request, server: ServerOf, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Identity:
    if credentials is None:
        raise HTTPException(401, "no bearer token; send `Authorization: Bearer <token>`", _CHALLENGE)
    identity = server.access.identify(credentials.credentials, now=server.now())
    if identity is None:
        raise HTTPException(401, "the token is unknown or revoked; ask an admin for another one", _CHALLENGE)
    request.state.caller = identity
    return identity


def _require(right: Right) -> Callable[[Identity], Identity]:
    def check(identity: Annotated[Identity, Depends(_caller)]) -> Identity:
        if not identity.may(right):
            able = " or ".join(roles_with(right))
            raise HTTPException(403, f"the token {identity.name!r} is a {identity.role}; this needs the role {able}")
        return identity

    return check


VIEWER = Depends(_require(Right.READ))
SCIENTIST = Depends(_require(Right.LEARN))
OPERATOR = Depends(_require(Right.OPERATE))
APPROVER = Depends(_require(Right.APPROVE))
ADMIN = Depends(_require(Right.ADMINISTER))

Viewer = Annotated[Identity, VIEWER]
Scientist = Annotated[Identity, SCIENTIST]
Operator = Annotated[Identity, OPERATOR]
Approver = Annotated[Identity, APPROVER]
Admin = Annotated[Identity, ADMIN]
