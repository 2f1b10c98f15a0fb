"""Tokens of people and programs, and what each may do."""

from enum import StrEnum

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer, Name, Request


class Role(StrEnum):
    """What a token may do; each role may also do what the ones before it may."""

    #: Read everything except secrets.
    VIEWER = "viewer"
    #: Change datasets, models and rollouts, enrol devices, release them from quarantine.
    OPERATOR = "operator"
    #: Make and revoke tokens, remove devices.
    ADMIN = "admin"


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
