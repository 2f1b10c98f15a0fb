"""The slots of one deployment: immutable models by digest, and the one pointer that says which answers.

A slot is a folder named by the digest of the artifact inside; it appears whole by one rename and is never
changed. `pointer.json` names the active and the previous digest in one file, so that a commit is one rename
and can be half done nowhere. What is on disk is checked against its digest before it is believed.

It does not know why a model is staged or committed; see `edgeops.update.machine`.
"""

import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from device_agent.store.aside import read_or_set_aside, was_set_aside
from edgeops import limits
from edgeops.digest import digest_file, digest_hex, sync_folder, sync_tree, write_atomically
from edgeops.protocol.messages import Digest

_ARTIFACT = "artifact.tflite"
_DESCRIPTOR = "descriptor.json"


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """Which digest answers, and which did before."""

    #: None = NO_MODEL.
    active: Digest | None = None
    previous: Digest | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A model in its place."""

    digest: str
    #: The artifact file.
    path: Path


class Slots:
    """The slots below one folder, which is made if missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "slots"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pointer_file = folder / "pointer.json"
        #: Models that were not on disk as they should be, since this process started.
        self.damaged = 0
        self._pointer = self._read_pointer()

    @property
    def pointer(self) -> Pointer:
        """Which digest answers, and which did before."""
        return self._pointer

    @property
    def active(self) -> Slot | None:
        """The model that answers; None = NO_MODEL."""
        return None if self._pointer.active is None else self.slot(self._pointer.active)

    def slot(self, digest: str) -> Slot:
        """Where the model of this digest is, or would be."""
        return Slot(digest, self._folder / digest_hex(digest) / _ARTIFACT)

    def descriptor(self, digest: str) -> bytes:
        """The descriptor that was staged with the model.

        Raises:
            OSError: there is none.
        """
        return self.slot(digest).path.with_name(_DESCRIPTOR).read_bytes()

    def holds(self, digest: str) -> bool:
        """Whether the whole model is here, byte for byte; reads the file."""
        path = self.slot(digest).path
        try:
            return digest_file(path) == digest
        except OSError:
            return False

    def stage(self, digest: str, artifact: Path, *, descriptor: bytes) -> Slot:
        """Move a verified artifact into its slot; harmless to repeat.

        Raises:
            OSError: no space, or `artifact` and slot are both missing.
        """
        slot = self.slot(digest)
        if self.holds(digest):
            artifact.unlink(missing_ok=True)
            return slot
        self.drop(digest)
        making = self._folder / f".{digest_hex(digest)}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        write_atomically(making / _DESCRIPTOR, descriptor)
        artifact.replace(making / _ARTIFACT)
        # Its bytes too: those that a killed process wrote last may lie in memory alone.
        sync_tree(making)
        making.rename(slot.path.parent)
        sync_folder(self._folder)
        return slot

    def start(self, *, committed: str | None = None, fallen: Collection[str] = ()) -> Slot | None:
        """What answers after a start: the active model, else the previous one, else None (NO_MODEL), as after `clear`.

        `committed` is what this device committed last, if it shall run: the active one where the pointer is damaged.
        What has `fallen` is passed over, as what is damaged is.
        That the disk does not take the new pointer is no reason to run nothing: the next start comes to the same.
        """
        stands_in = None if committed in fallen else committed
        if stands_in is not None and was_set_aside(self._pointer_file) and self.holds(stands_in):
            self._stand_in(Pointer(active=stands_in))
            return self.slot(stands_in)
        if self._pointer.active is None and self._pointer.previous is not None:
            return None  # it was told to run nothing
        for digest in (self._pointer.active, self._pointer.previous):
            if digest is None or digest in fallen:
                continue
            if self.holds(digest):
                if digest != self._pointer.active:
                    self._stand_in(Pointer(active=digest))
                return self.slot(digest)
            self.damaged += 1
        if self._pointer != Pointer() or was_set_aside(self._pointer_file):
            self._stand_in(Pointer())
        return None

    def commit(self, digest: str) -> None:
        """Make a staged model the active one; harmless to repeat."""
        if digest != self._pointer.active:
            self._point(Pointer(active=digest, previous=self._pointer.active))

    def clear(self) -> None:
        """Run nothing; what ran stays as the previous one. Harmless to repeat."""
        if self._pointer.active is not None:
            self._point(Pointer(previous=self._pointer.active))

    def drop(self, digest: str) -> None:
        """Remove a slot that neither answers nor did before."""
        if digest in (self._pointer.active, self._pointer.previous) and self.holds(digest):
            return
        shutil.rmtree(self.slot(digest).path.parent, ignore_errors=True)

    def collect(self, *, keep: str | None = None, idle: int = limits.MAX_IDLE_SLOTS) -> None:
        """Remove idle slots but the newest `idle`, and what a power cut left half made.

        `keep` is a candidate that is neither active nor previous yet.
        """
        kept = {digest_hex(digest) for digest in (*msgspec.structs.astuple(self._pointer), keep) if digest}
        others: list[tuple[float, Path]] = []
        for folder in self._folder.iterdir():
            if folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name not in kept:
                with suppress(OSError):
                    others.append((folder.stat().st_mtime, folder))
        for _, folder in sorted(others, reverse=True)[idle:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _point(self, pointer: Pointer) -> None:
        write_atomically(self._pointer_file, msgspec.json.encode(pointer))
        self._pointer = pointer

    def _stand_in(self, pointer: Pointer) -> None:
        self._pointer = pointer
        with suppress(OSError):
            self._point(pointer)

    def _read_pointer(self) -> Pointer:
        return read_or_set_aside(self._pointer_file, Pointer, on_damage=self._count_damage) or Pointer()

    def _count_damage(self, _: Exception) -> None:
        self.damaged += 1
