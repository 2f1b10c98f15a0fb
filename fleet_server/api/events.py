"""What happened: a list, and a stream of server-sent events (WHATWG HTML, 9.2) that says it at once.

A stream begins behind `Last-Event-ID`, or with what happens from now on, and never repeats or leaves out an event
that is kept. It ends after STREAM_LIFE; whoever still listens connects again.
"""

import time
from collections.abc import AsyncIterator, Collection
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import StreamingResponse

from edgeops import limits
from edgeops.api.shapes import Event, Page, shape_of
from edgeops.errors import PlatformError
from fleet_server.api.callers import VIEWER
from fleet_server.api.feed import EventFeed
from fleet_server.api.pages import Ordinal, PagingOf
from fleet_server.api.server import ServerOf
from fleet_server.db import events

router = APIRouter(prefix="/events", tags=["events"], dependencies=[VIEWER])

Kinds = Annotated[
    tuple[str, ...],
    Query(alias="kind", max_length=20, description="Only kinds that begin so, such as `rollout.`; repeatable."),
]
Subject = Annotated[str | None, Query(max_length=200, description="Only what happened to the thing with this id.")]
_LastEventId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, le=2**53, description="Begin behind this event; 0 = all kept.")
]
#: Of one message of the stream; comments in between carry an id to begin again behind, and no data.
_MESSAGE = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For Last-Event-ID."},
        "event": {"type": "string", "description": "The kind."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Event"},
        },
    },
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _MESSAGE}}, "description": "Events, one after the other."}
}


@router.get("")
def list_events(
    server: ServerOf,
    *,
    paging: PagingOf,
    kinds: Kinds = (),
    subject: Subject = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only events behind the one with this id.")] = 0,
) -> Page[Event]:
    """What happened and is kept, oldest first."""
    begin = paging.after(Ordinal)
    with server.database.read() as connection:
        rows = events.page(
            connection,
            kinds=kinds,
            subject=subject,
            after=after if begin is None else begin,
            limit=paging.wanted,
        )
    return paging.page(rows, key=lambda row: row.id, shape=lambda row: shape_of(Event, row))


@router.get("/stream", response_class=StreamingResponse, responses=_STREAM)
async def stream_events(
    server: ServerOf,
    *,
    kinds: Kinds = (),
    subject: Subject = None,
    last_event_id: _LastEventId = None,
) -> StreamingResponse:
    """Events as they happen; `event` is the kind, `data` the event as JSON."""
    if server.feed.is_full:
        detail = f"{limits.MAX_STREAMS} event streams are open, more are not served; try again later"
        raise HTTPException(503, detail, {"Retry-After": str(int(limits.STREAM_HEARTBEAT.total_seconds()))})
    told = _tell(server.feed, last_event_id, kinds=kinds, subject=subject)
    return StreamingResponse(told, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _tell(
    feed: EventFeed, cursor: int | None, *, kinds: Collection[str], subject: str | None
) -> AsyncIterator[str]:
    ends_at = time.monotonic() + limits.STREAM_LIFE.total_seconds()
    silence_s = limits.STREAM_HEARTBEAT.total_seconds()
    try:
        async with feed.reading(cursor) as begin:
            cursor = begin
            yield _comment("connected", cursor)
            said_at = time.monotonic()
            while not feed.is_closed and time.monotonic() < ends_at:
                happened, cursor = await feed.after(cursor, wait_s=said_at + silence_s - time.monotonic())
                wanted = [event for event in happened if is_wanted(event, kinds=kinds, subject=subject)]
                if wanted:
                    yield "".join(_message(event) for event in wanted)
                elif time.monotonic() - said_at >= silence_s:
                    yield _comment("still here", cursor)
                else:
                    continue
                said_at = time.monotonic()
    except PlatformError:
        return  # several came for the last place at once; this one connects again


def is_wanted(event: events.Event, *, kinds: Collection[str], subject: str | None) -> bool:
    """Whether the event is of one of the kinds, or none is named, and happened to this subject."""
    return (not kinds or event.kind.startswith(tuple(kinds))) and subject in (None, event.subject)


def _message(event: events.Event) -> str:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {shape_of(Event, event).model_dump_json()}\n\n"


def _comment(text: str, cursor: int) -> str:
    """No event, but a place to begin again behind events that nobody here wanted."""
    return f": {text}\nid: {cursor}\n\n"
