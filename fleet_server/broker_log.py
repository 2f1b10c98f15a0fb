"""What of a broker's log is worth keeping, and what of it is an attempt that the broker refused.

mosquitto tells that it dropped a message for its ACL only where it tells of every packet, so its log is read as it is
written: lines about packets are passed over, subscriptions are judged, and of one client only so many lines a second
are kept. Pure; reads and writes no file.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from edgeops import limits
from edgeops.protocol.access import may_subscribe

#: Lines about packets and their parts (mosquitto 2.0, log_type debug).
_PACKETS = (b"Received ", b"Sending ", b"No will message", b"Will message", b"\t", b"Reloading config")
#: `<time>: <client> <qos> <filter>`, log_type subscribe.
_SUBSCRIBED = re.compile(rb"(\S+) ([0-2]) (.+)")
_SAYS = re.compile(rb"(?:Client|Denied \w+ from|New client connected from \S+ as) (\S+)")
_REFUSED = re.compile(
    r": (?:Denied (?P<act>PUBLISH|SUBSCRIBE) from (?P<denied>\S+) \((?P<what>.*)\)"
    r"|Client (?P<client>\S+?)(?: disconnected due to (?P<how>[a-z ]+)\.| disconnected, (?P<not>not authorised)\.))$"
)
_TOPIC = re.compile(r"'(.*)'")


class Attempt(StrEnum):
    """What the broker refused; the string stands in events."""

    #: To write or to hear a topic that is not the client's own.
    FOREIGN_TOPIC = "foreign-topic"
    #: A packet of more bytes than the broker takes.
    OVERSIZE = "oversize"
    #: Bytes that are no MQTT, or topics that are none.
    PROTOCOL = "protocol"
    #: No account, a wrong password, or cut off.
    NOT_AUTHORISED = "not-authorised"


@dataclass(frozen=True, slots=True)
class Refused:
    """One attempt; `client` is what the broker calls it."""

    client: str
    attempt: Attempt
    detail: str


class LogFilter:
    """Takes what a broker writes, in pieces, and gives the lines that are kept."""

    def __init__(self, server_user: str) -> None:
        self._server_user = server_user
        self._rest = b""
        self._said: Counter[bytes] = Counter()
        self._second = 0

    def take(self, data: bytes, *, now_s: float) -> bytes:
        """The whole lines of what came so far that are kept."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if int(now_s) != self._second:
            self._second = int(now_s)
            self._said.clear()
        return b"".join(kept + b"\n" for line in lines if (kept := self._kept(line)))

    def _kept(self, line: bytes) -> bytes | None:
        time, _, text = line.partition(b": ")
        if not text or text.startswith(_PACKETS):
            return None
        subscribed = _SUBSCRIBED.fullmatch(text)
        if subscribed is not None:
            client, _, topic_filter = subscribed.groups()
            # A line ends after 999 bytes (mosquitto 2.0), also in the middle of a character.
            who, what = client.decode(errors="replace"), topic_filter.decode(errors="replace")
            if may_subscribe(who, what, server_user=self._server_user):
                return None
            line = time + b": Denied SUBSCRIBE from " + client + b" ('" + topic_filter + b"')"
            text = line[len(time) + 2 :]
        speaker = _SAYS.match(text)
        name = speaker[1] if speaker else b""
        self._said[name] += 1
        return line if self._said[name] <= limits.BROKER_LOG_LINES_PER_S else None


def refusals(lines: str) -> Iterator[Refused]:
    """The attempts in lines of a broker's log, ours or mosquitto's."""
    for line in lines.splitlines():
        found = _REFUSED.search(line)
        if found is None:
            continue
        if found["act"]:
            topic = _TOPIC.search(found["what"])
            act = "to write" if found["act"] == "PUBLISH" else "to hear"
            yield Refused(found["denied"], Attempt.FOREIGN_TOPIC, f"{act} {topic[1] if topic else found['what']}")
        elif found["not"]:
            yield Refused(found["client"], Attempt.NOT_AUTHORISED, f"{found['client']}: no account, or cut off")
        elif found["how"].startswith("oversize"):
            yield Refused(found["client"], Attempt.OVERSIZE, "a packet of more bytes than the broker takes")
        elif found["how"] in ("protocol error", "malformed packet"):
            yield Refused(found["client"], Attempt.PROTOCOL, found["how"])
