"""Messages that wait to be taken in: one after another of every device that has some, in the order each said them.

So a device that said much waits behind itself. What may wait at all is decided in `fleet_server.link.allowance`.
"""

from collections import OrderedDict, deque
from threading import Condition

from fleet_server.link.mqtt import Delivery


class Waiting:
    """Filled by the network thread, emptied by the ingestion thread."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[Delivery]] = OrderedDict()
        self._count = 0
        self._stopped = False
        self._changed = Condition()

    def __len__(self) -> int:
        return self._count

    def put(self, delivery: Delivery) -> None:
        """Have a message wait."""
        with self._changed:
            self._lanes.setdefault(delivery.speaker, deque()).append(delivery)
            self._count += 1
            self._changed.notify()

    def stop(self) -> None:
        """From now on nothing is taken any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def take(self, limit: int, within_s: float) -> list[Delivery]:
        """The next `limit` messages, or those of `within_s` after the first; none when it was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._count or self._stopped)
            self._changed.wait_for(lambda: self._count >= limit or self._stopped, timeout=within_s)
            if self._stopped:
                return []
            batch: list[Delivery] = []
            while self._lanes and len(batch) < limit:
                speaker, lane = next(iter(self._lanes.items()))
                batch.append(lane.popleft())
                if lane:
                    self._lanes.move_to_end(speaker)
                else:
                    del self._lanes[speaker]
            self._count -= len(batch)
            return batch
