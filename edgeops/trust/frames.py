"""How a parent and its trust child talk: length-prefixed MessagePack maps over two pipes.

The parent asks once, then fetches small files for the child until the child tells its result or its
failure. This module knows the frames and the parent's side of the talk; it neither starts processes
nor judges metadata, and it does not import tuf.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import BinaryIO, TypeVar

import msgspec

from edgeops.errors import TrustError
from edgeops.limits import MAX_TRUST_FRAME_BYTES

_LENGTH_BYTES = 4


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all frames have in common: a frozen map, defaults left out."""


class Ask(Frame, frozen=True, kw_only=True):
    """The parent's first frame."""

    #: Paths whose content shall be returned.
    targets: tuple[str, ...]
    #: A listed target beyond this is not fetched.
    max_bytes: int
    #: Unix seconds by which expiry is judged: the later of the device's clock and its time floor.
    now: int


class Answer(Frame, frozen=True, kw_only=True):
    """The parent's reply to one need: exactly one of the three."""

    data: bytes | None = None
    missing: bool = False
    error: str | None = None


class FailureKind(StrEnum):
    """Why nothing can be said about what is listed now."""

    #: Metadata that was valid once; a freeze, or a server that slept.
    EXPIRED = "expired"
    #: Too few signatures by keys of the pinned chain of roots.
    UNSIGNED = "unsigned"
    #: Older than what was trusted before, or versions that do not fit each other.
    ROLLBACK = "rollback"
    #: Metadata or a listed target that the server does not have.
    MISSING = "missing"
    #: No contact, or an error on the way.
    TRANSPORT = "transport"
    #: Other bytes than the ones that were signed.
    LENGTH_OR_HASH = "length-or-hash"
    #: The disk of this machine takes nothing: full, read-only.
    DISK = "disk"
    #: Does not parse, or this machine's own trouble.
    OTHER = "other"


class Failure(Frame, frozen=True, kw_only=True):
    """The child's last frame when it cannot vouch for anything."""

    kind: FailureKind
    detail: str


class Result(Frame, frozen=True, kw_only=True):
    """The child's last frame: verified metadata, as of now."""

    #: Content of each asked target; None = not listed.
    targets: dict[str, bytes | None]
    #: Length of every listed target: what may run. Of delegated ones those of the roles that were asked.
    listed: dict[str, int]
    #: Role -> version.
    versions: dict[str, int]
    #: Role -> Unix seconds.
    expires: dict[str, int]


class Said(Frame, frozen=True, kw_only=True):
    """Any frame of the child: exactly one of the three."""

    need: str | None = None
    result: Result | None = None
    failure: Failure | None = None


_T = TypeVar("_T", bound=Frame)


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Send one frame and flush it."""
    data = msgspec.msgpack.encode(frame)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    stream.flush()


def read_frame(stream: BinaryIO, kind: type[_T]) -> _T:
    """Wait for one frame.

    Raises:
        TrustError: the other side ended, or sent something else.
    """
    length = int.from_bytes(_read_exactly(stream, _LENGTH_BYTES), "big")
    if length > MAX_TRUST_FRAME_BYTES:
        raise TrustError(f"a frame of {length} bytes between agent and trust child exceeds {MAX_TRUST_FRAME_BYTES}")
    try:
        return msgspec.msgpack.decode(_read_exactly(stream, length), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"not a {kind.__name__} frame between agent and trust child: {error}") from error


def converse(
    to_child: BinaryIO, from_child: BinaryIO, *, ask: Ask, fetch: Callable[[str], bytes | None]
) -> Result | Failure:
    """The parent's side: ask, serve what the child needs, return what it says last.

    `fetch` takes `metadata/<file>` or `targets/<path>` and returns the bytes, None when the server has
    no such file, or raises OSError when it cannot be reached.

    Raises:
        TrustError: the child ended without an answer.
    """
    write_frame(to_child, ask)
    while True:
        said = read_frame(from_child, Said)
        if said.result is not None:
            return said.result
        if said.failure is not None:
            return said.failure
        if said.need is None:
            raise TrustError("the trust child said nothing; it is another version than this agent, install both again")
        write_frame(to_child, _fetched(fetch, said.need))


def _fetched(fetch: Callable[[str], bytes | None], path: str) -> Answer:
    try:
        data = fetch(path)
    except OSError as error:
        return Answer(error=str(error) or type(error).__name__)
    return Answer(missing=True) if data is None else Answer(data=data)


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < count:
        piece = stream.read(count - len(pieces))
        if not piece:
            raise TrustError("the other end of the trust pipe is gone")
        pieces += piece
    return bytes(pieces)
