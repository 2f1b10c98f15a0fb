"""Who may soon ask for a block of a blob, so that it is worth holding it back for them.

Devices ask for blocks in order, several at a time. Of devices that fetch together some are always behind; a block that
leaves before they ask has to leave again for them. Held back, those in front wait until the others have come up to
them. Who is ahead has asked before, and is not waited for. Pure: time is an argument.
"""

from bisect import bisect_left, insort
from collections import OrderedDict

from edgeops import limits

_SILENT_AFTER_S = limits.BLOCK_SILENT_AFTER.total_seconds()
#: Fetches remembered; the quietest are forgotten.
_MOST = 10_000


class Followers:
    """How far each device has asked, as long as it goes on asking."""

    def __init__(self) -> None:
        #: (digest, device) -> the furthest block it asked for, and when it asked last; the quietest first.
        self._last: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        #: Digest -> the furthest blocks that devices asked for, in order; one each.
        self._places: dict[str, list[int]] = {}

    def asked(self, digest: str, index: int, device_id: str, now_s: float) -> None:
        """A device asks for a block."""
        key = (digest, device_id)
        if key in self._last:
            index = max(index, self._remove(key))
        elif len(self._last) >= _MOST:
            self._remove(next(iter(self._last)))
        self._last[key] = index, now_s
        insort(self._places.setdefault(digest, []), index)

    def forget(self, now_s: float) -> None:
        """Whoever asks no more is not waited for."""
        while self._last:
            key, (_, at_s) = next(iter(self._last.items()))
            if now_s - at_s < _SILENT_AFTER_S:
                break
            self._remove(key)

    def are_behind(self, digest: str, index: int) -> bool:
        """Whether a device has not come to this block yet."""
        places = self._places.get(digest)
        return places is not None and places[0] < index

    def _remove(self, key: tuple[str, str]) -> int:
        index, _ = self._last.pop(key)
        places = self._places[key[0]]
        del places[bisect_left(places, index)]
        if not places:
            del self._places[key[0]]
        return index
