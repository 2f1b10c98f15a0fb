"""The server itself: that it answers, what it shows over TLS, what time it is, whether it was restored."""

from typing import Literal

from pydantic import AwareDatetime

from edgeops.api.shapes.shape import Answer, Moment


class Health(Answer):
    """That the API answers, and its version."""

    status: Literal["ok"] = "ok"
    version: str


class Restoration(Answer):
    """That the server came out of a backup."""

    #: Its id.
    backup: str
    taken_at: Moment
    restored_at: Moment
    #: Devices of the fleet that said nothing since.
    unheard_devices: int


class Restorations(Answer):
    """The last restoration, if there was one."""

    restorations: tuple[Restoration, ...]


class Authority(Answer):
    """A certificate authority (CA) of this fleet."""

    #: What devices pin: `sha256:` and 64 hex characters.
    fingerprint: str
    #: The certificate.
    pem: str
    begins_at: AwareDatetime
    ends_at: AwareDatetime
    #: Whether the certificate that the server shows is one of its own, and whether its key lies on this server.
    signs: bool
    on_server: bool


class ServerCertificate(Answer):
    """What the server shows over TLS."""

    names: tuple[str, ...]
    ends_at: AwareDatetime


class Authorities(Answer):
    """The listed CAs, oldest first; without TLS no certificate is shown."""

    authorities: tuple[Authority, ...]
    certificate: ServerCertificate | None = None


class ServerTime(Answer):
    """What time it is on the server, signed by the fleet key together with the nonce of the question."""

    at: AwareDatetime
    key_id: str
    #: 128 hex characters; over what, `edgeops.trust.moment` says.
    signature: str
