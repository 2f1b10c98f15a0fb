"""The audit trail as a chain: each entry carries the hash of the one before.

Changing, removing or inserting an entry breaks every hash after it. A tail that was cut off, or a trail that was
written anew from some entry on, is seen by whoever kept an anchor: how many entries there were, and the hash of the
last. Pure.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

#: What the first entry is chained to.
GENESIS = "sha256:" + "0" * 64


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision."""

    id: int
    at: datetime
    #: Who: the name of a token, or of a policy.
    actor: str
    #: What, as `noun.verb`.
    action: str
    #: Of what.
    subject: str
    remark: str
    data: dict[str, Any]
    previous_hash: str
    hash: str

    def is_sound(self) -> bool:
        """Whether the hash is that of the entry's content."""
        return self.hash == hash_of(
            self.previous_hash, self.at, self.actor, self.action, self.subject, self.remark, self.data
        )


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """Where the trail stood when somebody signed it."""

    entries: int
    head: str


class Intact(msgspec.Struct, frozen=True):
    """The chain holds, and holds what was anchored."""

    entries: int
    head: str


class Broken(msgspec.Struct, frozen=True):
    """The chain breaks at one entry: that one or the one before was changed, added or removed."""

    entry: int

    @property
    def reason(self) -> str:
        """In words."""
        return f"the chain breaks at entry {self.entry}"


class Contradicted(msgspec.Struct, frozen=True):
    """The chain holds, but it is not the one that was anchored."""

    entries: int
    anchor: Anchor

    @property
    def reason(self) -> str:
        """In words."""
        signed = f"the last one that was signed has the hash {self.anchor.head}"
        if self.entries < self.anchor.entries:
            return f"{self.entries} entries, and {self.anchor.entries} were signed: the tail was cut off; {signed}"
        return f"entry {self.anchor.entries} is not the one that was signed: the trail was written anew; {signed}"


def hash_of(*fields: Any) -> str:
    """The hash of an entry: previous hash, at, actor, action, subject, remark, data."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def check_trail(
    entries: Iterable[Entry], anchor: Anchor | None = None, *, before: int = 0
) -> Intact | Broken | Contradicted:
    """Compute the chain anew, the first entry first, and hold it against an anchor.

    `before` entries are left out, so that the end of a long trail can be looked at often: what the first one that is
    given leads back to is then not asked.
    """
    previous, count = GENESIS, before
    anchored = anchor is None or (anchor.entries == 0 and anchor.head == GENESIS)
    for entry in entries:
        leads_back = entry.previous_hash == previous or (count == before and before > 0)
        if not leads_back or not entry.is_sound():
            return Broken(entry.id)
        previous, count = entry.hash, count + 1
        if anchor is not None and count == anchor.entries:
            anchored = previous == anchor.head
    if anchor is not None and not anchored:
        return Contradicted(count, anchor)
    return Intact(count, previous)
