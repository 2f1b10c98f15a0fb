"""A token bucket: so much a second, and so much at once. Time is an argument, of a clock that never goes back."""


class Bucket:
    """So much a second, and so much at once."""

    __slots__ = ("_at_s", "_burst", "_level", "_rate")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate, self._burst, self._level, self._at_s = rate_per_s, burst, burst, now_s

    def level(self, now_s: float) -> float:
        """What may be taken now."""
        self._level = min(self._burst, self._level + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        return self._level

    def take(self, amount: float) -> None:
        """Take what there is; what was taken in beyond it cost nobody anything and leaves no debt."""
        self._level = max(self._level - amount, 0.0)
