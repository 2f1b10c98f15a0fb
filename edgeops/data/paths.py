"""What the path of a file in a folder says of it: columns by the named parts of a regular expression."""

import re
from collections.abc import Sequence

#: The columns of a folder where nobody says otherwise: the first folder is the class, what lies between the group.
CLASS = "class"
GROUP = "group"
_USUAL = rf"^(?P<{CLASS}>[^/]+)/(?:(?P<{GROUP}>.+)/)?[^/]+$"
#: The path itself.
FILE = "file"


def is_folder(file_name: str) -> bool:
    """Whether a file is a folder of files, zipped."""
    return file_name.lower().endswith(".zip")


class PathPattern:
    """Columns of paths."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names, the path itself first."""
        return (FILE, *self._pattern.groupindex)

    def cells(self, paths: Sequence[str]) -> dict[str, list[str | None]]:
        """By column, a cell of each path; None where the pattern, or this part of it, is not found."""
        found = [self._pattern.search(path) for path in paths]
        parts = {name: [match[name] if match else None for match in found] for name in self._pattern.groupindex}
        return {FILE: list(paths), **parts}


def read_pattern(text: str) -> PathPattern:
    """The pattern of a person; empty = the usual one.

    Raises:
        ValueError: it is no regular expression, or names no part.
    """
    try:
        pattern = re.compile(text or _USUAL)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern is no regular expression: {error}") from error
    if not pattern.groupindex:
        raise ValueError(f"the pattern {text!r} names no part; name them: (?P<class>[a-z]+)_(?P<speaker>[a-z]+)")
    if FILE in pattern.groupindex:
        raise ValueError(f"the column {FILE!r} is the path itself; name its part otherwise")
    return PathPattern(pattern)
