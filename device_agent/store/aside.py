"""What becomes of a file that cannot be read as what it should be: it is kept for a person to look at.

One of each name is kept, the newest. Whoever sets a file aside counts it, and goes on without.
"""

from contextlib import suppress
from pathlib import Path

_SUFFIX = ".corrupt"


def set_aside(path: Path) -> None:
    """Rename `path`; where the disk does not take that, it stays and is met again at the next start."""
    with suppress(OSError):
        path.replace(_aside(path))


def was_set_aside(path: Path) -> bool:
    """Whether there is no such file because it was set aside."""
    return not path.exists() and _aside(path).exists()


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}{_SUFFIX}")
