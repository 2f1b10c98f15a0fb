"""Bounds how much a request may send, before anything reads it."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Field names, boundaries and file names around an upload.
FORM_OVERHEAD_BYTES = 1024 * 1024
#: Everything else is a small JSON document.
_MAX_DOCUMENT_BYTES = 1024 * 1024


class BodyLimit:
    """ASGI middleware: a request of more than its limit ends in 413."""

    def __init__(self, app: ASGIApp, *, larger: Mapping[str, int]) -> None:
        """`larger` are the limits of what is posted to some paths."""
        self._app = app
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what `receive` delivers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _MAX_DOCUMENT_BYTES
        if scope["method"] == "POST":
            limit = self._larger.get(scope["path"], limit)
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # The endpoint's own reading raises it, so that it becomes a problem document.
                raise HTTPException(413, f"the request has more than {limit} bytes; send less at a time")
            return message

        await self._app(scope, bounded, send)
