"""Reads a text file that a person wrote, up to a bound, and says what is wrong with one; what it means is not known."""

from pathlib import Path

from edgeops import limits
from edgeops.errors import InputError


def read_written(path: Path) -> str:
    """The text of a file of a person: UTF-8, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, is too large, or no such text; the file is named.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limits.MAX_WRITTEN_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > limits.MAX_WRITTEN_BYTES:
        raise InputError(f"{path} is larger than {limits.MAX_WRITTEN_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: no UTF-8 text ({error.reason}); save it as UTF-8") from error
