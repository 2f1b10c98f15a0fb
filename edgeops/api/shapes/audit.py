"""The audit trail, and what its chain says of it."""

from typing import Any

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer
from edgeops.trust.trail import Anchor, Broken, Contradicted, Intact


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
    """Whether the chain holds, and holds what was signed of it."""

    sound: bool
    entries: int | None = None
    head: str | None = None
    #: The first entry that does not fit the one before it.
    broken_at: int | None = None
    #: What the signed TUF timestamp says of it: so many entries, and the hash of the last.
    signed_entries: int | None = None
    signed_head: str | None = None
    detail: str


def audit_check(found: Intact | Broken | Contradicted, anchored: Anchor | None) -> AuditCheck:
    """What was found of a trail that was held against what was signed."""
    signed = {} if anchored is None else {"signed_entries": anchored.entries, "signed_head": anchored.head}
    match found:
        case Intact(entries, head):
            told = {"sound": True, "entries": entries, "head": head, "detail": f"{entries} entries, the chain holds"}
        case Broken(entry):
            told = {"sound": False, "broken_at": entry, "detail": found.reason}
        case Contradicted(entries):
            told = {"sound": False, "entries": entries, "detail": found.reason}
    return AuditCheck.model_validate(told | signed)
