"""What arrives for this device: believed, refused and counted, or kept until newer fleet keys are there.

Whether a message is believed is `device_agent.downlink`'s to say. Nothing is carried out here.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from threading import Lock

from device_agent.downlink import Downlink, Heard, Refused, UnknownKey
from device_agent.events import is_told
from device_agent.link import Arrived
from device_agent.trust import FleetKeys, Trust
from edgeops.protocol.topics import Down, DownKind

_log = logging.getLogger(__name__)

#: An unknown key makes the agent ask for the fleet's keys, at most this often.
_KEYS_REFRESH_S = 15.0


class Hearing:
    """The main thread's ear."""

    def __init__(
        self,
        device: str,
        downlink: Downlink,
        *,
        keys: FleetKeys,
        trust: Trust,
        submit: Callable[[Callable[[], None]], None],
        repeat: Callable[[Arrived], None],
    ) -> None:
        """`submit` runs work that takes long elsewhere; `repeat` lets a message arrive once more."""
        self._device = device
        self._downlink = downlink
        self._keys = keys
        self._trust = trust
        self._submit = submit
        self._repeat = repeat
        self._keys_asked_s = -_KEYS_REFRESH_S
        #: The newest message per kind that waits for newer fleet keys; whoever learns those takes them all.
        self._waiting = Lock()
        self._unverified: dict[DownKind, Arrived] = {}
        #: Messages that were not believed; the counters say why.
        self.refusals = 0
        self.counters: Counter[str] = Counter()

    def hear(self, event: Arrived) -> Heard | None:
        """What the server says with it; None = it says nothing that may be acted on now."""
        topic = event.topic
        if not isinstance(topic, Down) or topic.device != self._device:
            self.counters["message.refused"] += 1
            return None
        match self._downlink.hear(topic.kind, event.payload, self._keys.accepted):
            case Refused() as refused:
                self._count_refused(topic.kind, refused)
                return None
            case UnknownKey() as unknown:
                self.counters["envelope.unknown-key"] += 1
                self.refusals += 1
                self._keep(topic.kind, event, unknown.key_id)
                return None
            case heard:
                return heard

    def _count_refused(self, kind: DownKind, refused: Refused) -> None:
        self.counters[refused.name] += 1
        if refused.name == "envelope.repeated":
            return
        self.refusals += 1
        if is_told(self.counters[refused.name]):
            _log.warning("message.refused", extra={"kind": kind, "reason": refused.name, "detail": refused.detail})

    def _keep(self, kind: DownKind, event: Arrived, key_id: str) -> None:
        with self._waiting:
            # Learnt since it was judged: nobody would come for it.
            is_known = key_id in self._keys.accepted.publics
            if not is_known:
                self._unverified[kind] = event
        if is_known:
            self._repeat(event)
        else:
            self._ask_for_keys(key_id)

    def _ask_for_keys(self, key_id: str) -> None:
        now_s = time.monotonic()
        if now_s - self._keys_asked_s < _KEYS_REFRESH_S:
            return
        self._keys_asked_s = now_s
        _log.info("fleet-keys.refresh", extra={"unknown": key_id[:16]})

        def refresh() -> None:
            try:
                self._trust.check([])
            finally:
                # Also where nothing was learnt: they are judged once more.
                with self._waiting:
                    waiting, self._unverified = self._unverified, {}
                for event in waiting.values():
                    self._repeat(event)

        self._submit(refresh)
