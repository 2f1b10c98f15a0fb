"""Which code runs, when it runs from a git checkout: the commit, and a digest of what was not committed."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from edgeops.digest import digest_chunks, digest_file

_ROOT = Path(__file__).parent.parent
#: What has a part in a training; tests, docs and agents have none.
_ROOMS = ("edgeops", "fleet_server")
_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What the code is."""

    #: Empty = no checkout, or git does not answer.
    commit: str = ""
    #: Digest of the difference between the commit and the files; None = there is none.
    difference: str | None = None


def look_at_checkout(root: Path = _ROOT) -> Checkout:
    """Ask git about the checkout whose top folder is `root`."""
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if not commit:
        return Checkout()
    pieces = list(_uncommitted(root))
    return Checkout(commit=commit.decode().strip(), difference=digest_chunks(pieces) if pieces else None)


def _uncommitted(root: Path) -> Iterator[bytes]:
    """The same bytes for the same difference: changes as git tells them, then new files by name and digest."""
    # Whatever a person set for their own eyes would change the digest.
    if changed := _git(root, "diff", "--no-ext-diff", "--no-color", "--no-textconv", "--binary", "HEAD", "--", *_ROOMS):
        yield changed
    for name in sorted(
        (_git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *_ROOMS) or b"").split(b"\0")
    ):
        path = root / name.decode(errors="surrogateescape")
        if name and path.is_file():
            yield b"\0" + name + b"\0" + digest_file(path).encode()


def _git(root: Path, *words: str) -> bytes | None:
    """What git says; None when it refuses, or is not there."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, check=False, timeout=_PATIENCE.total_seconds()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout if asked.returncode == 0 else None
