"""Receivers of webhooks, and what went to them."""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.shape import Answer, Request, Text

EventKinds = Annotated[str, StringConstraints(pattern=r"^[a-z-]+\.([a-z-]+)?$", max_length=60)]


class WebhookRequest(Request):
    """A new receiver."""

    url: Annotated[Text, StringConstraints(min_length=8, max_length=2000)]
    #: Kinds of events, or a beginning such as `rollout.`; empty = all.
    kinds: Annotated[tuple[EventKinds, ...], Field(max_length=limits.MAX_WEBHOOK_KINDS)] = ()


class Webhook(Answer):
    """A receiver, and the public key that its messages are signed for."""

    id: str
    url: str
    kinds: tuple[str, ...]
    #: `whpk_` and base64: Ed25519, for this receiver alone.
    public_key: str
    created_by: str
    created_at: AwareDatetime


class Delivery(Answer):
    """One message to one receiver."""

    id: str
    webhook_id: str
    kind: str
    #: `waiting`, `delivered` or `dead`.
    state: str
    attempts: int
    #: When it is tried next, while it waits.
    next_at: AwareDatetime
    detail: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None = None
