"""The one tree of errors, split by culprit.

    EdgeOpsError
    ├── InputError            a person's data, configuration or arguments
    │   ├── DatasetError      a file or table that cannot be learnt from
    │   ├── ConfigError       a setting that cannot be used
    │   └── ArtifactError     a model file or manifest that cannot be used
    ├── PeerError             something that came over the wire
    │   ├── TopicError        a topic outside the protocol
    │   ├── MessageError      bytes that do not parse, or a value out of bounds
    │   └── EnvelopeError     a signature, key or session that is not accepted
    ├── TrustError            metadata or a target that TUF does not vouch for
    ├── PlatformError         this machine lacks something (a runtime, a broker)
    │   ├── DiskError         its disk takes nothing now: full, read-only, a write error
    │   │   └── DamageError   it takes what is written, but one file is not what was written
    │   └── LeaseError        another process took the place of this one
    └── ServerError           an answer of the fleet server to its client
        ├── UnreachableError  no answer at all
        ├── AccessError       401 or 403
        ├── NotFoundError     404
        ├── ConflictError     409 or 412
        └── WaitTimeoutError  what was waited for did not end in time

A message says what happened, names the offending value, and what to do about it. Expected
outcomes (a verdict, a refusal) are return values, never errors.
"""

from collections.abc import Sequence


class EdgeOpsError(Exception):
    """Everything EdgeOps raises on purpose.

    `fields` says which fields of a request are to blame and for what: pairs of a JSON pointer (RFC 6901) and words.
    """

    def __init__(self, message: str = "", *, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class InputError(EdgeOpsError):
    """A person's data, configuration or arguments cannot be used."""


class DatasetError(InputError):
    """A file or table cannot be learnt from."""


class ConfigError(InputError):
    """A setting cannot be used."""


class ArtifactError(InputError):
    """A model file, manifest or descriptor cannot be used."""


class PeerError(EdgeOpsError):
    """Something that came over the wire is not acceptable."""


class TopicError(PeerError):
    """A topic outside the protocol."""


class MessageError(PeerError):
    """Bytes that do not parse, or a value out of its bounds."""


class EnvelopeError(PeerError):
    """A signature, key or session that is not accepted; `reason` is an `edgeops.protocol.envelope.Misfit`."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class TrustError(EdgeOpsError):
    """Metadata or a target that TUF does not vouch for."""


class PlatformError(EdgeOpsError):
    """This machine lacks something: a runtime, a broker."""


class DiskError(PlatformError):
    """The disk takes nothing now: it is full, read-only or fails to write."""


class DamageError(DiskError):
    """One file is not what was written into it; another one in its place would be."""


class LeaseError(PlatformError):
    """Another process took the place of this one, which must write nothing more."""


class ServerError(EdgeOpsError):
    """The fleet server answered with a problem document (RFC 9457)."""


class UnreachableError(ServerError):
    """The fleet server did not answer."""


class AccessError(ServerError):
    """The fleet server refused the caller (401 or 403)."""


class NotFoundError(ServerError):
    """The fleet server does not know the thing (404)."""


class ConflictError(ServerError):
    """The request does not fit the present state (409 or 412)."""


class WaitTimeoutError(ServerError):
    """What was waited for did not end in time; it goes on by itself."""
