"""What becomes of a file that cannot be read, or not as what it should be: it is kept for a person to look at.

One of each name is kept, the newest. Whoever sets a file aside counts it, and goes on without.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

_SUFFIX = ".corrupt"
_T = TypeVar("_T")


def read_or_set_aside(path: Path, kind: type[_T], *, on_damage: Callable[[Exception], object]) -> _T | None:
    """What a file of JSON holds; None = there is none, or it cannot be read and was set aside, after `on_damage`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        on_damage(error)
        set_aside(path)
        return None


def set_aside(path: Path) -> None:
    """Rename `path`; where the disk does not take that, it stays and is met again at the next start."""
    with suppress(OSError):
        path.replace(_aside(path))


def was_set_aside(path: Path) -> bool:
    """Whether there is no such file because it was set aside."""
    return not path.exists() and _aside(path).exists()


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}{_SUFFIX}")
