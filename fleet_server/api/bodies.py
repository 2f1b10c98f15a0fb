"""Bounds how much a request may send, before anything reads it."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeops import limits

#: Field names, boundaries and file names around an upload.
_FORM_OVERHEAD_BYTES = 1024 * 1024
#: Everything that is not an upload is a small JSON document.
_MAX_DOCUMENT_BYTES = 1024 * 1024


class BodyLimit:
    """ASGI middleware: a request of more than its limit ends in 413."""

    def __init__(self, app: ASGIApp, *, upload_path: str) -> None:
        self._app = app
        self._upload_path = upload_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what `receive` delivers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] == self._upload_path and scope["method"] == "POST"
        limit = limits.MAX_UPLOAD_BYTES + _FORM_OVERHEAD_BYTES if is_upload else _MAX_DOCUMENT_BYTES
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
