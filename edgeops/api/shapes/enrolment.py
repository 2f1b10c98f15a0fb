"""How a device joins the fleet."""

from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.shape import Answer, Request, Text


class EnrolmentTokensRequest(Request):
    """How many one-time enrolment tokens are wanted."""

    count: Annotated[int, Field(ge=1, le=limits.ENROLMENT_TOKENS_AT_ONCE)] = 1


class EnrolmentToken(Answer):
    """A one-time token for one device, shown once."""

    id: str
    token: str
    expires_at: AwareDatetime


class EnrolmentTokens(Answer):
    """One-time tokens, one a device."""

    tokens: tuple[EnrolmentToken, ...]


class EnrolRequest(Request):
    """A device introduces itself with a one-time token and its own public key."""

    token: Annotated[Text, StringConstraints(max_length=200)]
    name: Annotated[Text, StringConstraints(min_length=1, max_length=limits.MAX_ID_LENGTH, strip_whitespace=True)]
    #: Machine id or board serial: what the id is bound to.
    hardware: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    #: Ed25519, 64 hex characters.
    public_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    agent_version: Annotated[Text, StringConstraints(max_length=50)] = ""


class BrokerAccess(Answer):
    """How a device reaches the broker; the user name is the device id."""

    host: str
    port: int
    username: str
    password: str


class Enrolment(Answer):
    """What an enrolled device needs: its id, the broker, the root of trust."""

    device_id: str
    broker: BrokerAccess
    #: TUF root metadata as JSON text, trusted on this first use.
    root: str
    #: Where the TUF repository is served over HTTP.
    tuf_url: str
