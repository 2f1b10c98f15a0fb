"""What every reader of foreign bytes must keep, as one check: a value or a declared error, bounded, and one to one.

`make test` runs the check on what hypothesis makes of the seeds, `make fuzz` on what atheris finds by coverage.
"""

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeops.errors import EdgeOpsError

#: CPU seconds that any input may take; far above what the slowest takes on a small machine, far below a hang.
MOST_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Parser:
    """One way of bytes into the project."""

    name: str
    #: Turns bytes into a value.
    read: Callable[[bytes], Any]
    #: What it says it may raise.
    errors: tuple[type[Exception], ...] = (EdgeOpsError,)
    #: Turns a value into bytes that `read` makes an equal value of; None = there is no way back.
    write: Callable[[Any], bytes] | None = None
    #: Good inputs, and bad ones worth keeping, to begin with.
    seeds: Callable[[], Sequence[bytes]]
    #: What atheris tries at most.
    most_bytes: int = 4096


class BrokenPromiseError(AssertionError):
    """A parser did what it says it never does."""


def check(parser: Parser, data: bytes) -> bool:
    """Whether `data` was read; raises what the parser must not raise, or BrokenPromiseError."""
    started = time.process_time()
    value = _read(parser, data)
    if value is not None and parser.write is not None:
        written = parser.write(value)
        again = parser.write(parser.read(written))
        if again != written:
            raise BrokenPromiseError(f"{parser.name}: {value!r} came back as other bytes: {written!r}, {again!r}")
    spent = time.process_time() - started
    if spent > MOST_SECONDS:
        raise BrokenPromiseError(f"{parser.name}: {spent:.1f} s for {len(data)} bytes")
    return value is not None


def _read(parser: Parser, data: bytes) -> Any:
    try:
        return parser.read(data)
    except parser.errors:
        return None


@cache
def scratch() -> Path:
    """A folder in memory where there is one, gone with the process."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="edgeops-parsers-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def through_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """A reader of bytes from a reader of files of this name."""

    def read_bytes(data: bytes) -> Any:
        path = scratch() / name
        path.write_bytes(data)
        return read(path)

    return read_bytes


def through_text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """A reader of bytes from a reader of text: what the operating system hands over as an argument."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))
