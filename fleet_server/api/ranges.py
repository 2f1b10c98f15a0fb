"""Artifacts by digest, in ranges, for devices: the second way beside blocks over MQTT.

A device shows a pass that it signed itself (`edgeops.protocol.passes`). It is good while the key is accepted, the
device is not in quarantine, its session is the newest one that was heard, and the artifact may leave. What is read
proves itself against the signed block list, so nothing here is signed.
"""

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from edgeops import limits
from edgeops.digest import DIGEST_PATTERN
from edgeops.errors import EnvelopeError, MessageError, NotFoundError
from edgeops.protocol.envelope import Freshness, Mark, freshness
from edgeops.protocol.passes import SCHEME, open_pass, read_pass
from fleet_server.api.pace import Pace
from fleet_server.api.promises import may_fail
from fleet_server.api.server import Server, ServerOf
from fleet_server.db import devices, ingest, models

router = APIRouter(prefix="/blobs", tags=["devices"])

#: RFC 9110, 11.6.1.
_CHALLENGE = {"WWW-Authenticate": f'{SCHEME} realm="edgeops"'}
#: One range with both ends (RFC 9110, 14.1.2), of a file that is not larger than 10 GB.
_RANGE = re.compile(r"bytes=([0-9]{1,10})-([0-9]{1,10})")
_MAX_RANGE_BYTES = limits.RANGE_BLOCKS * limits.BLOCK_BYTES
#: Read from disk at a time; what leaves at a time is one block.
_READ_BYTES = 8 * limits.BLOCK_BYTES


@router.get("/{name}", status_code=206, response_class=Response, responses=may_fail(401, 403, 416))
def read_blob(
    server: ServerOf,
    name: str,
    authorization: Annotated[str, Header(max_length=2 * limits.MAX_PASS_LENGTH)] = "",
    wanted: Annotated[str, Header(alias="Range", max_length=64)] = "",
) -> Response:
    """One range of an artifact, `name` being the hex characters of its digest; for devices, with a pass."""
    digest = f"sha256:{name}"
    if DIGEST_PATTERN.fullmatch(digest) is None:
        raise NotFoundError(f"no blob {name[:80]!r}; a name has 64 lower-case hex characters")
    device_id = _reader(server, authorization, digest)
    with server.database.read() as connection:
        artifact = models.artifact_by_digest(connection, digest)
    if artifact is None or artifact.withdrawn_at is not None:
        raise NotFoundError(f"no artifact {digest} that devices may have")
    path = server.blobs.path(digest)
    first, last = asked_range(wanted, artifact.size_bytes)
    return _RangeResponse(path, _Piece(first, last, artifact.size_bytes), pace=server.pace, device_id=device_id)


def _reader(server: Server, authorization: str, digest: str) -> str:
    """The device that shows a good pass."""
    try:
        shown = read_pass(authorization)
        with server.database.read() as connection:
            keys = devices.keys(connection, shown.device)
            quarantined = shown.device in devices.quarantined_ids(connection)
        envelope = open_pass(shown, digest, keys=keys)
    except (MessageError, EnvelopeError) as error:
        raise HTTPException(401, str(error), _CHALLENGE) from error
    if quarantined:
        raise HTTPException(403, f"{shown.device} is in quarantine; an operator ends it with: edgeops devices release")
    with server.database.read_telemetry() as connection:
        session = ingest.newest_session(connection, shown.device)
    if session is not None and freshness(envelope, Mark(session, -1)) is not Freshness.FRESH:
        raise HTTPException(401, "the pass is of another session than the device's newest one", _CHALLENGE)
    return shown.device


def asked_range(wanted: str, size_bytes: int) -> tuple[int, int]:
    """First and last byte of what a `Range` header asks of a blob.

    Raises:
        HTTPException: 416; it asks for something else than one range of it.
    """
    found = _RANGE.fullmatch(wanted)
    first, last = (int(found[1]), int(found[2])) if found else (1, 0)
    if not first <= last < size_bytes or last - first >= _MAX_RANGE_BYTES:
        raise HTTPException(
            416,
            f"not a range of this blob: {wanted[:60]!r}; expected bytes=FIRST-LAST, both below {size_bytes}, "
            f"at most {_MAX_RANGE_BYTES} bytes",
            {"Content-Range": f"bytes */{size_bytes}"},
        )
    return first, last


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bytes `first` to `last` of a file of `size_bytes`."""

    first: int
    last: int
    size_bytes: int


class _RangeResponse(Response):
    """Sends one range at the pace of the server and of its reader; gives up a reader that takes nothing."""

    def __init__(self, path: Path, piece: _Piece, *, pace: Pace, device_id: str) -> None:
        super().__init__(status_code=206, media_type="application/octet-stream")
        self._path = path
        self._piece = piece
        self._pace = pace
        self._device_id = device_id
        self.headers["Content-Length"] = str(piece.last - piece.first + 1)
        self.headers["Content-Range"] = f"bytes {piece.first}-{piece.last}/{piece.size_bytes}"
        self.headers["Cache-Control"] = "no-store"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until done, or until the reader has left."""
        if not self._pace.enter(self._device_id):
            refusal = Response(status_code=503, headers={"Retry-After": "1"})
            await refusal(scope, receive, send)
            return
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            self._pace.leave(self._device_id)
        failure, _ = await asyncio.gather(sending, leaving, return_exceptions=True)
        if isinstance(failure, Exception) and not isinstance(failure, TimeoutError):
            raise failure

    async def _send(self, send: Send) -> None:
        stall_s = limits.RANGE_STALL.total_seconds()
        handle = await run_in_threadpool(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(self._piece.first, self._piece.last + 1, _READ_BYTES):
                size_bytes = min(_READ_BYTES, self._piece.last + 1 - start)
                data = await run_in_threadpool(os.pread, handle, size_bytes, start)
                for offset in range(0, size_bytes, limits.BLOCK_BYTES):
                    block = data[offset : offset + limits.BLOCK_BYTES]
                    await self._pace.wait(self._device_id, len(block))
                    async with asyncio.timeout(stall_s):
                        more = start + offset + len(block) <= self._piece.last
                        await send({"type": "http.response.body", "body": block, "more_body": more})
        finally:
            os.close(handle)


async def _left(receive: Receive) -> None:
    """Return when the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
