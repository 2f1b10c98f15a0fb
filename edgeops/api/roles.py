"""What a token may do: one table, for whoever must not load the shapes of the API to know it.

Roles are no ladder. Whoever changes data and models touches no device; whoever changes what devices run need not be
allowed to approve it; whoever approves changes nothing else.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Right(StrEnum):
    """What an endpoint asks for."""

    #: Read everything except secrets.
    READ = "read"
    #: Change data and what is made of it: datasets, training runs, labels. No device notices.
    LEARN = "learn"
    #: Change what devices run, and who they are: publish, roll out, retrain by policy, enrol, release, group, pin.
    OPERATE = "operate"
    #: Say yes or no to what others have begun, go past a gate with a remark, erase what datasets hold of somebody.
    APPROVE = "approve"
    #: Say who may do what: tokens, keys of the server, receivers of webhooks; remove devices; demand four eyes.
    ADMINISTER = "administer"


class Role(StrEnum):
    """What a token is."""

    #: Looks.
    VIEWER = "viewer"
    #: Imports, trains, labels; and looks.
    DATA_SCIENTIST = "data-scientist"
    #: Runs the fleet, and does all that a data scientist does.
    OPERATOR = "operator"
    #: Approves, denies and overrides, begins nothing; and looks.
    APPROVER = "approver"
    #: Everything. Where four eyes are demanded, also an admin approves nothing of their own.
    ADMIN = "admin"


RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Right.READ}),
        Role.DATA_SCIENTIST: frozenset({Right.READ, Right.LEARN}),
        Role.OPERATOR: frozenset({Right.READ, Right.LEARN, Right.OPERATE}),
        Role.APPROVER: frozenset({Right.READ, Right.APPROVE}),
        Role.ADMIN: frozenset(Right),
    }
)


def roles_with(right: Right) -> tuple[Role, ...]:
    """The roles that have a right, those with the fewest rights first."""
    return tuple(sorted((role for role in Role if right in RIGHTS[role]), key=lambda role: len(RIGHTS[role])))
