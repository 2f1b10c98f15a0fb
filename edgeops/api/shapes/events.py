"""What happened, and what was not believed."""

from typing import Any

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer


class Event(Answer):
    """One thing that happened."""

    id: int
    at: AwareDatetime
    #: Such as `rollout.changed`; the part before the dot names what it happened to.
    kind: str
    #: Id of what it happened to.
    subject: str
    data: dict[str, Any]


#: The kinds of events that tell what somebody tried and was refused.
ATTEMPTS = ("connection.refused", "device.floods", "device.quarantined", "message.quarantined")


class QuarantinedMessage(Answer):
    """A message that was not believed."""

    id: int
    at: AwareDatetime
    device_id: str
    topic: str
    reason: str
    detail: str
    payload_bytes: int
