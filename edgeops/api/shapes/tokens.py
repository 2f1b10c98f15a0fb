"""Tokens of people and programs."""

from pydantic import AwareDatetime

from edgeops.api.roles import Role
from edgeops.api.shapes.shape import Answer, Name, Request


class TokenRequest(Request):
    """A new bearer token."""

    name: Name
    role: Role


class Token(Answer):
    """A bearer token without its secret."""

    id: str
    name: str
    role: Role
    created_at: AwareDatetime
    last_used_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None


class NewToken(Token):
    """A bearer token with its secret, which is shown once."""

    token: str
