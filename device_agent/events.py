"""How the agent's log reads: one line an event, `time LEVEL name key=value ...`, on stderr.

Event names are stable, fields are what `extra` carries. What is worth a line is decided where it happens.
"""

import logging
import sys

#: What every record has; the rest came through `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class EventFormatter(logging.Formatter):
    """Appends the fields of a record to its name."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The line, without a traceback."""
        fields = [f"{key}={_plain(value)}" for key, value in record.__dict__.items() if key not in _STANDARD]
        return " ".join([super().formatMessage(record), *fields])


def log_to_stderr(*, verbose: bool) -> None:
    """Send the log of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])


def is_told(count: int) -> bool:
    """Of what happens again and again the first, second, fourth, eighth ... time is: a log may lie on a card."""
    return count.bit_count() == 1


def _plain(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return repr(text) if not text or " " in text or "\n" in text else text
