"""Which blocks of a blob to ask for now: a window of outstanding ones, and again those that are late.

How late a block is depends on the server's rate and on all others who fetch: it holds blocks back so that one message
serves many. Asked for again too early, a block that is on its way leaves once more, everything is later still, and
more is asked for again. So the patience follows what was measured, as TCP's retransmission timer does (RFC 6298; a
block that was asked for twice gives no measure, Karn's rule). Pure: time is an argument, in seconds of a clock that
never goes back.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edgeops import limits

_LEAST_S = limits.BLOCK_RETRY_AFTER.total_seconds()
_MOST_S = limits.BLOCK_RETRY_AT_MOST_AFTER.total_seconds()


@dataclass(frozen=True, slots=True)
class _Asked:
    at_s: float
    again: bool


class Patience:
    """How long an answer may take before it is asked for again."""

    def __init__(self) -> None:
        self._smoothed_s: float | None = None
        self._varies_s = 0.0
        self._backed_off = 1

    @property
    def seconds(self) -> float:
        """Between BLOCK_RETRY_AFTER and BLOCK_RETRY_AT_MOST_AFTER."""
        expected_s = 0.0 if self._smoothed_s is None else self._smoothed_s + 4.0 * self._varies_s
        return min(max(expected_s, _LEAST_S) * self._backed_off, _MOST_S)

    def answered(self, after_s: float) -> None:
        """An answer took so long, asked for once."""
        if self._smoothed_s is None:
            self._smoothed_s, self._varies_s = after_s, after_s / 2.0
        else:
            self._varies_s += (abs(self._smoothed_s - after_s) - self._varies_s) / 4.0
            self._smoothed_s += (after_s - self._smoothed_s) / 8.0
        self._backed_off = 1

    def ran_out(self) -> None:
        """No answer in time: the next one may take twice as long."""
        if self.seconds < _MOST_S:
            self._backed_off *= 2


class Window:
    """The outstanding blocks of one pull, at most BLOCK_WINDOW."""

    def __init__(self) -> None:
        self._asked: dict[int, _Asked] = {}
        self._patience = Patience()
        self._ran_out_at_s = float("-inf")

    @property
    def outstanding(self) -> tuple[int, ...]:
        """The blocks that were asked for and did not come, in the order of asking."""
        return tuple(self._asked)

    def due(self, missing: Iterable[int], now_s: float) -> list[int]:
        """What to ask for now, the late ones first; `missing` = the lowest blocks that are not here.

        One new block as each comes: asked for several at a time, devices drift apart, and blocks leave four times as
        often.
        """
        late = [index for index, asked in self._asked.items() if now_s - asked.at_s >= self._patience.seconds]
        new = [index for index in missing if index not in self._asked]
        return late + new[: limits.BLOCK_WINDOW - len(self._asked)]

    def asked(self, indexes: Collection[int], now_s: float) -> None:
        """They were asked for."""
        late = [self._asked[index].at_s for index in indexes if index in self._asked]
        self._asked |= {index: _Asked(now_s, again=index in self._asked) for index in indexes}
        # Those that were asked for before it ran out last are late for the same reason.
        if max(late, default=self._ran_out_at_s) > self._ran_out_at_s:
            self._patience.ran_out()
            self._ran_out_at_s = now_s

    def arrived(self, index: int, now_s: float) -> bool:
        """A block came; whether it was outstanding."""
        asked = self._asked.pop(index, None)
        if asked is None:
            return False
        if not asked.again:
            self._patience.answered(now_s - asked.at_s)
        return True

    def cut(self) -> None:
        """What is outstanding will not come: the connection that it was asked for on has ended."""
        self._asked = dict.fromkeys(self._asked, _Asked(float("-inf"), again=True))

    def clear(self) -> None:
        """Wait for nothing."""
        self._asked.clear()
