"""Topics as values, and the access rules that follow from them.

Direction is in the topic, so that a broker's ACL can say it: a device writes below `up/<its id>`,
reads below `down/<its id>` and the shared blocks, and nothing else.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from edgeops.digest import DIGEST_PATTERN, digest_hex
from edgeops.errors import TopicError

PREFIX = "edgeops/v1"
#: What every client id begins with, and no id does. The broker replaces the client id by the user's name once that is
#: proven; until then a connection is known by what it sent, which so is never the id of somebody else.
CLIENT_ID_PREFIX = "edgeops/"

_ID = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_BLOCK_INDEX = re.compile(r"0|[1-9][0-9]{0,6}")
_MAX_BLOCK_INDEX = 1 << 20


class UpKind(StrEnum):
    """What a device says; the last segment of its topic and the envelope's `kind`."""

    #: Birth and last will; retained.
    STATUS = "status"
    #: What really runs, facts and counters; retained, latest wins.
    REPORTED = "reported"
    #: Outcomes of updates and evidence of trials; through the spool.
    REPORTS = "reports"
    #: Packed sketches, one a window; through the spool.
    TELEMETRY = "telemetry"
    #: Batches of answers; through the spool.
    PREDICTIONS = "predictions"
    #: Nominated inputs; through the spool.
    SAMPLES = "samples"
    #: What came of benchmarks; through the spool.
    BENCHMARKS = "benchmarks"
    #: The answer to a command.
    RESPONSE = "response"
    #: A wish for blocks, a block list or TUF metadata.
    FETCH = "fetch"


class DownKind(StrEnum):
    """What the server says to one device."""

    #: The signed desired state; retained, a cache of the database.
    DESIRED = "desired"
    #: Which spool records are committed.
    ACK = "ack"
    #: One request to do something now; never queued in a broker.
    COMMAND = "command"
    #: How many backlog records may flow.
    CREDIT = "credit"
    #: Parts of TUF metadata, small targets and block lists; not enveloped, they prove themselves.
    META = "meta"


#: The kinds that travel as numbered spool records and are acknowledged by the application.
SPOOLED = frozenset({UpKind.REPORTS, UpKind.TELEMETRY, UpKind.PREDICTIONS, UpKind.SAMPLES, UpKind.BENCHMARKS})
RETAINED = frozenset({UpKind.STATUS, UpKind.REPORTED, DownKind.DESIRED})


@dataclass(frozen=True, slots=True)
class Up:
    """A topic that only `device` writes."""

    device: str
    kind: UpKind

    def __str__(self) -> str:
        return f"{PREFIX}/up/{self.device}/{self.kind}"


@dataclass(frozen=True, slots=True)
class Down:
    """A topic that only `device` reads."""

    device: str
    kind: DownKind

    def __str__(self) -> str:
        return f"{PREFIX}/down/{self.device}/{self.kind}"


@dataclass(frozen=True, slots=True)
class Block:
    """The topic of one 32 KiB block of a blob, shared by all who need it."""

    digest: str
    index: int

    def __str__(self) -> str:
        return f"{PREFIX}/blob/{digest_hex(self.digest)}/{self.index}"


Topic = Up | Down | Block

#: What the server subscribes to.
ALL_UP = f"{PREFIX}/up/+/+"


def parse_topic(text: str) -> Topic:
    """Turn a topic name into a value.

    Raises:
        TopicError: the name is outside the protocol.
    """
    parts = text.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != PREFIX:
        raise TopicError(f"not an EdgeOps topic: {text[:120]!r}; expected {PREFIX}/<up|down|blob>/<id>/<kind>")
    _, _, direction, name, last = parts
    try:
        if direction == "up" and is_id(name):
            return Up(name, UpKind(last))
        if direction == "down" and is_id(name):
            return Down(name, DownKind(last))
    except ValueError as error:
        raise TopicError(f"unknown kind {last[:40]!r} in topic {text[:120]!r}") from error
    if direction == "blob" and DIGEST_PATTERN.fullmatch(f"sha256:{name}") and _is_block_index(last):
        return Block(f"sha256:{name}", int(last))
    raise TopicError(f"not an EdgeOps topic: {text[:120]!r}; unknown direction, id or block")


def client_id(user: str) -> str:
    """The MQTT client id that a user of the broker connects with."""
    return CLIENT_ID_PREFIX + user


def is_id(text: str) -> bool:
    """Whether `text` is a server-made id: `[a-z0-9][a-z0-9-]{2,62}`."""
    return _ID.fullmatch(text) is not None


def is_retained(topic: Topic) -> bool:
    """Whether messages on `topic` are published with the retain flag."""
    match topic:
        case Up() | Down():
            return topic.kind in RETAINED
        case Block():
            return False
        case _:
            assert_never(topic)


def mosquitto_acl(server_user: str) -> str:
    """The text of mosquitto's `acl_file`: the server may do all of ours, a device only its own.

    `%u` is the user name, which is the device id; patterns do not apply to what no rule allows
    (mosquitto.conf(5), acl_file).
    """
    lines = [
        "# Generated by EdgeOps; changes are overwritten.",
        f"user {server_user}",
        f"topic read {PREFIX}/up/#",
        f"topic write {PREFIX}/down/#",
        f"topic write {PREFIX}/blob/#",
        "",
        *(f"pattern write {PREFIX}/up/%u/{kind}" for kind in UpKind),
        *(f"pattern read {PREFIX}/down/%u/{kind}" for kind in DownKind),
        f"pattern read {PREFIX}/blob/+/+",
        "",
    ]
    return "\n".join(lines)


def _is_block_index(text: str) -> bool:
    return _BLOCK_INDEX.fullmatch(text) is not None and int(text) < _MAX_BLOCK_INDEX
