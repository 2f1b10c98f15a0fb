"""Keys by their public halves, and what is signed offline. No private key is in a shape."""

from enum import StrEnum

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer, Id, Request


class KeyRole(StrEnum):
    """What a key of this fleet signs."""

    #: TUF roles (TUF specification, 2.1).
    ROOT = "root"
    TARGETS = "targets"
    SNAPSHOT = "snapshot"
    TIMESTAMP = "timestamp"
    #: What the server tells devices.
    FLEET = "fleet"
    #: Versions of one model that the fleet retrained by itself: a delegated TUF role.
    AUTO = "auto"


class Key(Answer):
    """A key of this fleet, by its public half."""

    role: KeyRole
    key_id: str
    public_hex: str
    #: Of fleet keys.
    epoch: int | None = None
    #: Of auto keys: whose versions it signs.
    model: str | None = None
    #: Of TUF roles: when what it signed must be signed again; of auto keys: when the delegation ends.
    expires_at: AwareDatetime | None = None
    #: Of TUF roles: so many of the role's keys must sign.
    threshold: int = 1
    #: Whether the private half lies on this server.
    on_server: bool


class Keys(Answer):
    """All keys of this fleet."""

    keys: tuple[Key, ...]


class SignedToday(Answer):
    """What is signed offline today, as JSON texts: what a change is made of."""

    #: All roots (TUF specification, 4.3), oldest first.
    roots: tuple[str, ...]
    #: TUF specification, 4.5.
    targets: str


class NextKeyRequest(Request):
    """Which of the server's own keys shall be replaced, or made for a delegation."""

    role: KeyRole
    #: Of an auto key: whose versions it shall sign.
    model: Id | None = None


class NextKey(Answer):
    """A key that the server made and nobody trusts yet, by its public half."""

    role: KeyRole
    public_hex: str
    #: Of a fleet key.
    epoch: int | None = None


class Submitted(Answer):
    """What came of a change that people signed."""

    #: False: it had been published before.
    published: bool
    #: Targets that are listed no longer.
    unlisted: tuple[str, ...] = ()
