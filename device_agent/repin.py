"""Trusts a new root by hand, where too few keys of the old one are left to sign it.

The agent must be stopped. What it trusts lies in its trust folder: the pinned root is replaced first, after which
nothing of the old chain counts any more, then what was cached of it goes. Models that run go on, the identity of the
device and what waits for the server stay. A crash in between costs nothing; repeat it.
"""

import shutil
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from device_agent.config import StateFolder
from edgeops import limits
from edgeops.digest import digest_bytes, write_atomically
from edgeops.errors import ConfigError, TrustError


class _Signed(msgspec.Struct, frozen=True):
    kind: Literal["root"] = msgspec.field(name="_type")
    version: Annotated[int, msgspec.Meta(ge=1)]


class _Root(msgspec.Struct, frozen=True):
    signed: _Signed


def repin(state: StateFolder, root: Path, *, fingerprint: str) -> int:
    """Trust the file `root` and what descends from it; its version.

    Raises:
        ConfigError: it cannot be read.
        TrustError: it is another file than the fingerprint names, or no root.
    """
    try:
        with root.open("rb") as file:
            data = file.read(limits.MAX_METADATA_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {root}: {error.strerror or error}") from error
    if digest_bytes(data) != fingerprint:
        raise TrustError(
            f"{root} has the fingerprint {digest_bytes(data)}, not {fingerprint[:80]}; ask whoever holds the keys"
        )
    try:
        version = msgspec.json.decode(data, type=_Root).signed.version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"{root} is no root of TUF metadata: {error}") from error
    state.root.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(state.pinned_root, data)
    state.fleet_keys.unlink(missing_ok=True)
    for cached in (state.root.parent, state.trust / "targets"):
        shutil.rmtree(cached, ignore_errors=True)
    return version
