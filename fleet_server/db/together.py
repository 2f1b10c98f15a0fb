"""Several writes as one transaction, without handing a connection through whoever writes.

Inside `Database.together` every `Database.write` of the same thread joins one transaction, which begins with the first
of them and commits at the end: all or nothing. What must follow the commit (a file that others read) waits for it.
"""

from collections.abc import Callable
from contextvars import ContextVar

from sqlalchemy import Connection


class Together:
    """One transaction that begins when somebody writes."""

    def __init__(self, begin: Callable[[], Connection], begun: Callable[[Connection], None] | None) -> None:
        self._begin = begin
        self._begun = begun
        #: None as long as nobody wrote.
        self.connection: Connection | None = None
        self.afterwards: list[Callable[[], None]] = []

    def write(self) -> Connection:
        """The connection of the transaction, which has begun from now on."""
        if self.connection is None:
            self.connection = self._begin()
            if self._begun is not None:
                self._begun(self.connection)
        return self.connection


#: Of this thread: by database, so that two of them do not mix.
CURRENT: ContextVar[tuple[object, Together] | None] = ContextVar("together", default=None)
