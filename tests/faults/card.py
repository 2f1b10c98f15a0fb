"""A device's card, small, so that it can be full, and made read-only under an agent that runs.

With the right to mount (root), it is a tmpfs in a mount namespace of this process's own, gone with it: a full one gives
ENOSPC, a read-only one EROFS. What was open for writing before a card turned read-only meets a full one, for the kernel
lets no mount turn read-only under open files. Without that right the kernel refuses the agent's writes by its limits
(RLIMIT_FSIZE: EFBIG) and by permissions (EACCES).
"""

import ctypes
import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_SIZE = "16m"
_CHUNK = 1 << 16
#: Set, it stands in for a place without the right to mount.
_WITHOUT = "EDGEOPS_TEST_WITHOUT_MOUNT"


class Card:
    """Holds one folder; for the main thread, whose children see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.is_real = not os.environ.get(_WITHOUT) and _own_namespace() and _mounted(folder)
        self._is_read_only = False

    def hold(self, content: Path) -> None:
        """Begin anew with a copy of this folder."""
        for entry in self.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        shutil.copytree(content, self.folder, dirs_exist_ok=True, symlinks=True)

    def fill(self, *, under: int = 0) -> None:
        """Not a byte more; `under` is the process at work, on whom limits can be laid in place of that."""
        if not self.is_real:
            assert under, "limits can only be laid on a process that runs"
            resource.prlimit(under, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            size = _CHUNK
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def empty(self, *, under: int = 0) -> None:
        """There is room again."""
        if self.is_real:
            (self.folder / "ballast").unlink(missing_ok=True)
            return
        if under:
            resource.prlimit(under, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def protect(self) -> None:
        """Read-only from now on for whoever opens something."""
        self._is_read_only = True
        if self.is_real:
            _run("mount", "--bind", self.folder, self.folder)
            _run("mount", "-o", "remount,ro,bind", self.folder)
            return
        for path in _folders(self.folder):
            path.chmod(0o500)

    def release(self) -> None:
        """Writable again."""
        if not self._is_read_only:
            return
        self._is_read_only = False
        if self.is_real:
            _run("umount", "-l", self.folder)
            return
        for path in _folders(self.folder):
            path.chmod(0o700)

    def close(self) -> None:
        self.release()
        if self.is_real:
            _run("umount", "-l", self.folder)

    @property
    def can_be_read_only(self) -> bool:
        """Permissions do not bind whoever may override them (CAP_DAC_OVERRIDE)."""
        if self.is_real:
            return True
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o500)
            try:
                (Path(folder) / "x").touch()
            except OSError:
                return True
        return False


def _folders(top: Path) -> list[Path]:
    return [top, *(Path(path) for path, _, _ in os.walk(top))]


def _own_namespace() -> bool:
    """What is mounted from here on is seen by this thread and its children alone (unshare(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.unshare(_CLONE_NEWNS) == 0 and _succeeds("mount", "--make-rprivate", "/")


def _mounted(folder: Path) -> bool:
    return _succeeds("mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "tmpfs", folder)


def _succeeds(*command: str | Path) -> bool:
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def _run(*command: str | Path) -> None:
    subprocess.run(command, capture_output=True, check=True)
