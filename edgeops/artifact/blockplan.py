"""Which blocks of a blob are there, which are missing, and how to ask for them.

A blob is cut into blocks of `block_bytes` (the last may be shorter); its block list is the concatenation of their
SHA-256 sums, and the descriptor signs the digest of that list. So every block proves itself on arrival, wherever it
came from. This module holds no bytes of the blob and touches no file.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from edgeops import limits
from edgeops.digest import digest_bytes
from edgeops.errors import ArtifactError
from edgeops.protocol.messages import BlockWish

_SUM_BYTES = 32
#: What one `BlockWish` bitmap spans.
WISH_SPAN = 64


class Acceptance(StrEnum):
    """What became of a block that arrived."""

    #: New and right: write it at `offset(index)`, then keep the map.
    ACCEPTED = "accepted"
    #: It was there already.
    DUPLICATE = "duplicate"
    #: Its sum, length or index is not the list's.
    MISMATCH = "mismatch"


def block_count(size: int, block_bytes: int) -> int:
    """How many blocks a blob of `size` bytes has."""
    return -(-size // block_bytes)


def block_list(data: bytes, block_bytes: int) -> bytes:
    """The concatenated 32-byte SHA-256 sums of all blocks of `data`."""
    view = memoryview(data)
    return b"".join(
        hashlib.sha256(view[start : start + block_bytes]).digest() for start in range(0, len(data), block_bytes)
    )


def wishes(digest: str, missing: Sequence[int]) -> tuple[BlockWish, ...]:
    """Wishes for the block indexes `missing` of one blob, each spanning at most 64 blocks."""
    bits: dict[int, int] = {}
    first = None
    for index in sorted(missing):
        if first is None or index >= first + WISH_SPAN:
            first = index
        bits[first] = bits.get(first, 0) | 1 << (index - first)
    return tuple(
        BlockWish(digest=digest, first=first, bitmap=bitmap.to_bytes(-(-bitmap.bit_length() // 8), "little"))
        for first, bitmap in bits.items()
    )


def wished(wish: BlockWish) -> tuple[int, ...]:
    """The block indexes that one wish asks for."""
    bitmap = int.from_bytes(wish.bitmap, "little")
    return tuple(wish.first + bit for bit in range(bitmap.bit_length()) if bitmap >> bit & 1)


class _Saved(msgspec.Struct, frozen=True, array_like=True):
    """A block map on disk."""

    format: int
    size: int
    block_bytes: int
    sums: bytes
    have: bytes
    check: int


class BlockMap:
    """The progress of one download: blob size in bytes, block list, and a bitmap of what is there."""

    __slots__ = ("_have", "_sums", "block_bytes", "count", "size")

    def __init__(self, size: int, block_bytes: int, sums: bytes) -> None:
        """An empty map.

        Raises:
            ArtifactError: the block list does not fit the size.
        """
        if not 0 < size <= limits.MAX_ARTIFACT_BYTES or not 0 < block_bytes <= limits.BLOCK_BYTES:
            raise ArtifactError(f"a blob of {size} bytes in blocks of {block_bytes} is out of bounds")
        self.count = block_count(size, block_bytes)
        if len(sums) != self.count * _SUM_BYTES:
            raise ArtifactError(
                f"a block list of {len(sums)} bytes for {self.count} blocks; expected {self.count * _SUM_BYTES}"
            )
        self.size = size
        self.block_bytes = block_bytes
        self._sums = sums
        self._have = bytearray(self.count)

    @classmethod
    def verified(cls, size: int, block_bytes: int, *, sums: bytes, blocks_digest: str) -> "BlockMap":
        """An empty map from a fetched block list, checked against the descriptor.

        Raises:
            ArtifactError: the list is not the one that was signed.
        """
        if digest_bytes(sums) != blocks_digest:
            raise ArtifactError(f"the block list has digest {digest_bytes(sums)}, the descriptor says {blocks_digest}")
        return cls(size, block_bytes, sums)

    @property
    def complete(self) -> bool:
        """Whether every block is there; the digest of the whole file still decides."""
        return all(self._have)

    @property
    def received(self) -> int:
        """How many blocks are there."""
        return sum(self._have)

    @property
    def blocks_digest(self) -> str:
        """Digest of the block list: which download this map belongs to."""
        return digest_bytes(self._sums)

    def offset(self, index: int) -> int:
        """Where block `index` starts in the file."""
        return index * self.block_bytes

    def length(self, index: int) -> int:
        """How many bytes block `index` has."""
        return min(self.block_bytes, self.size - self.offset(index))

    def accept(self, index: int, data: bytes) -> Acceptance:
        """Judge a block that arrived; when ACCEPTED it counts as there."""
        if not 0 <= index < self.count or not self._fits(index, data):
            return Acceptance.MISMATCH
        if self._have[index]:
            return Acceptance.DUPLICATE
        self._have[index] = 1
        return Acceptance.ACCEPTED

    def missing(self, limit: int | None = None) -> tuple[int, ...]:
        """The lowest `limit` block indexes that are not there (all without a limit)."""
        indexes: list[int] = []
        at = self._have.find(0)
        while at >= 0 and (limit is None or len(indexes) < limit):
            indexes.append(at)
            at = self._have.find(0, at + 1)
        return tuple(indexes)

    def recheck(self, read_block: Callable[[int, int], bytes]) -> int:
        """After a crash: forget blocks whose bytes on disk do not match; returns how many.

        Those that were written and not yet noted are found again. `read_block(offset, length)` reads the partial file.
        """
        lost = 0
        for index in range(self.count):
            fits = self._fits(index, read_block(self.offset(index), self.length(index)))
            lost += self._have[index] and not fits
            self._have[index] = fits
        return lost

    def to_bytes(self) -> bytes:
        """The map for disk, block list included, so that a download resumes without the network."""
        have = _bitmap(self._have)
        saved = _Saved(1, self.size, self.block_bytes, self._sums, have, zlib.crc32(self._sums + have))
        return msgspec.msgpack.encode(saved)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BlockMap":
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactError: the bytes are damaged; start the download anew.
        """
        try:
            saved = msgspec.msgpack.decode(data, type=_Saved)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ArtifactError(f"not a block map: {error}; start the download anew") from error
        if saved.format != 1 or saved.check != zlib.crc32(saved.sums + saved.have):
            raise ArtifactError("a damaged block map; start the download anew")
        restored = cls(saved.size, saved.block_bytes, saved.sums)
        bits = int.from_bytes(saved.have, "little")
        if bits >> restored.count:
            raise ArtifactError("a block map with more blocks than its blob; start the download anew")
        for index in range(restored.count):
            restored._have[index] = bits >> index & 1
        return restored

    def _fits(self, index: int, data: bytes) -> bool:
        expected = self._sums[index * _SUM_BYTES : (index + 1) * _SUM_BYTES]
        return len(data) == self.length(index) and hashlib.sha256(data).digest() == expected


def _bitmap(flags: bytearray) -> bytes:
    """Bit i (LSB first) is flag i."""
    bits = int("".join(map(str, reversed(flags))), 2)
    return bits.to_bytes(-(-len(flags) // 8), "little")
