"""The audit trail, and what its chain says of it."""

from typing import Any

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer


class AuditEntry(Answer):
    """One decision of a person or a policy."""

    id: int
    at: AwareDatetime
    #: Who: the name of a token, or of a policy.
    actor: str
    #: What, as `noun.verb`.
    action: str
    #: Of what.
    subject: str
    remark: str
    data: dict[str, Any]
    previous_hash: str
    hash: str


class AuditCheck(Answer):
    """Whether the chain holds, by the server's own word."""

    sound: bool
    entries: int | None = None
    head: str | None = None
    #: The first entry that does not fit the one before it.
    broken_at: int | None = None
    #: What the signed TUF timestamp says of it: so many entries, and the hash of the last.
    signed_entries: int | None = None
    signed_head: str | None = None
    detail: str
