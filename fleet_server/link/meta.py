"""Answers wishes for small named files: TUF metadata, TUF targets, block lists.

Only names on the allow-list exist; none of them can leave the repository. The files prove themselves,
so the answer is not signed.
"""

import re
from pathlib import Path

from edgeops import limits
from edgeops.protocol.messages import MetaPart, MetaStatus, MetaWish
from fleet_server.link.blocks import Shelf

_NAME = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
#: `metadata/2.root.json`, `targets/models/digits/<hash>.1-int8.json`: no part begins with a dot.
_REPOSITORY_FILE = re.compile(rf"metadata/{_NAME}\.json|targets/(?:{_NAME}/){{0,6}}{_NAME}")
#: The other fields of a part.
_AROUND_PART_BYTES = 64
_BLOCK_LIST = re.compile(r"blocklists/([0-9a-f]{64})")


class Library:
    """The files of one repository and the block lists of one shelf."""

    def __init__(self, repository: Path, shelf: Shelf) -> None:
        self._repository = repository
        self._shelf = shelf

    def answer(self, wish: MetaWish, *, max_bytes: int = limits.MAX_MESSAGE_BYTES) -> MetaPart:
        """The part that was wished for, in a message of at most `max_bytes`; MISSING when there is no such file."""
        data = self._read(wish.path)
        if data is None:
            return MetaPart(request=wish.request, path=wish.path, status=MetaStatus.MISSING)
        part_bytes = max(1, min(limits.METADATA_PART_BYTES, max_bytes - _AROUND_PART_BYTES - len(wish.path.encode())))
        return MetaPart(
            request=wish.request,
            path=wish.path,
            status=MetaStatus.OK,
            total_bytes=len(data),
            offset=wish.offset,
            data=data[wish.offset : wish.offset + part_bytes],
        )

    def _read(self, path: str) -> bytes | None:
        sums_of = _BLOCK_LIST.fullmatch(path)
        if sums_of is not None:
            stock = self._shelf.find(f"sha256:{sums_of[1]}")
            return None if stock is None else self._shelf.block_list(stock)
        if _REPOSITORY_FILE.fullmatch(path) is None:
            return None
        try:
            with (self._repository / path).open("rb") as file:
                data = file.read(limits.MAX_METADATA_BYTES + 1)
        except OSError:
            return None
        return data if len(data) <= limits.MAX_METADATA_BYTES else None
