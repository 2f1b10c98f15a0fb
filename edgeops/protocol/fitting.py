"""Cuts records to what a broker takes in one message.

The spool cuts to MAX_MESSAGE_BYTES; a broker may say that it takes less. One record alone is never cut: where it does
not fit, it waits for another broker.
"""

from collections.abc import Iterator

from edgeops import limits
from edgeops.protocol.messages import Record, Records

#: The envelope around a body, and the fields around a record's bytes.
_ENVELOPE_BYTES = 512
_RECORD_BYTES = 32


def fitted(body: Records, largest_bytes: int) -> Iterator[Records]:
    """The same records in messages of at most `largest_bytes`, envelope included."""
    if largest_bytes >= limits.MAX_MESSAGE_BYTES:
        yield body
        return
    part: list[Record] = []
    size_bytes = 0
    for record in body.records:
        cost = len(record.data) + 5 * len(record.absorbed) + _RECORD_BYTES
        if part and size_bytes + cost > largest_bytes - _ENVELOPE_BYTES:
            yield Records(spool=body.spool, records=tuple(part))
            part, size_bytes = [], 0
        part.append(record)
        size_bytes += cost
    yield Records(spool=body.spool, records=tuple(part))
