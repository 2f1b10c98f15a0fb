"""Devices that run something else than they shall."""

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer, Remark, Request


class Incident(Answer):
    """One, from its beginning to its end."""

    id: str
    device_id: str
    deployment: str
    #: `no-model`, `fell-back`, `crashed` or `other-model`.
    cause: str
    #: Digests; null = nothing.
    should: str | None
    runs: str | None
    #: The installation that had proved what should run, if one did.
    installation_id: str | None
    detail: str
    opened_at: AwareDatetime
    #: When the device said so last.
    last_at: AwareDatetime
    #: How often what it shall run was sent again.
    asked: int
    #: When it was over, or a person closed it; null = open.
    closed_at: AwareDatetime | None = None
    #: Empty = it closed by itself.
    closed_by: str = ""
    remark: str = ""
    #: When the device ran what it should again.
    ended_at: AwareDatetime | None = None


class CloseRequest(Request):
    """A person looked."""

    remark: Remark = ""
