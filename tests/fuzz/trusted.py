"""What TUF leads to: metadata on its way to a device, the fleet keys, the enrolment's and the child's answers."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from edgeops.errors import InputError, TrustError
from edgeops.protocol.keys import PublicKey, SigningKey, read_private_key
from edgeops.trust.change import Change, decode_change, encode_change, signatures
from edgeops.trust.change import check as check_change
from edgeops.trust.client import verify
from edgeops.trust.draft import Draft
from edgeops.trust.fetching import NOT_FOUND
from edgeops.trust.frames import Ask, Failure, Result
from edgeops.trust.keyring import decode_fleet_keys, encode_fleet_keys, fleet_keys_of
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe
from edgeops.trust.storage import Storage
from tests.delegating import delegate
from tests.fuzz.parser import Parser, scratch, through_file, through_text

_AT = datetime(2026, 11, 23, tzinfo=UTC)
_ASK = Ask(
    targets=("fleet/keys.json", "models/digits/auto/2-int8.json"),
    max_bytes=4096,
    now=int((_AT + timedelta(hours=1)).timestamp()),
)
#: The first byte of an input says which of these it stands for.
_FILES = (
    "metadata/2.root.json",
    "metadata/timestamp.json",
    "metadata/2.snapshot.json",
    "metadata/3.targets.json",
    "metadata/1.auto-digits.json",
    "targets/fleet/keys.json",
)


@cache
def _site() -> Path:
    """A repository with a delegation, and a device that trusts its root."""
    folder = scratch() / "site"
    repository = Repository.create(folder / "repository", folder / "keys", _AT)
    repository.publish({"fleet/keys.json": _FLEET_KEYS}, _AT)
    delegate(repository, "digits", _AT)
    repository.publish({"models/digits/auto/2-int8.json": b"{}"}, _AT)
    first = folder / "state" / "metadata"
    first.mkdir(parents=True)
    shutil.copy(folder / "repository/metadata/1.root.json", first / "root.json")
    return folder


class _Forged(FetcherInterface):
    """The site's files, but one."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._data = data

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url if url.startswith("metadata/") else _without_digest(url)
        if name == self._path:
            return iter((self._data,))
        try:
            return iter(((_site() / "repository" / url).read_bytes(),))
        except OSError:
            raise exceptions.DownloadHTTPError(f"no {url}", NOT_FOUND) from None


def _without_digest(url: str) -> str:
    folder, _, name = url.rpartition("/")
    return f"{folder}/{name.partition('.')[2]}"


def _refresh(data: bytes) -> Result | Failure | None:
    """What a device makes of a repository in which one file is this."""
    if not data:
        return None
    path = _FILES[data[0] % len(_FILES)]
    state = scratch() / "trust"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(_site() / "state", state)
    outcome = verify(state, _ASK, fetcher=_Forged(path, data[1:]))
    if isinstance(outcome, Result) and path == _FILES[-1]:
        assert outcome.targets[_ASK.targets[0]] == _FLEET_KEYS, "a device took other bytes than were signed"
    return outcome


def _refreshed() -> Sequence[bytes]:
    found = []
    for place, path in enumerate(_FILES):
        name = path.rpartition("/")[2]
        matches = sorted((_site() / "repository").rglob(f"*{name}"))
        found += [bytes([place]) + matches[-1].read_bytes()] if matches else []
    return found


def _stored(data: bytes) -> object:
    """A repository whose newest timestamp, snapshot or targets is this."""
    if not data:
        return None
    folder = scratch() / "stored"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_site() / "repository", folder)
    names = ("timestamp.json", "3.snapshot.json", "3.targets.json", "1.root.json")
    (folder / "metadata" / names[data[0] % len(names)]).write_bytes(data[1:])
    return Storage(folder).load()


_KEY = SigningKey.generate()


def _locked_pem() -> bytes:
    """A key with a password, which ours never have."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


_FLEET_KEYS = encode_fleet_keys(fleet_keys_of(_KEY.public))


def _shown(data: bytes) -> Change:
    """A file that somebody is asked to sign, up to what is shown of it."""
    change = decode_change(data)
    check_change(change, now=_AT)
    assert describe(change)
    assert signatures(change)
    return change


def _changes() -> Sequence[bytes]:
    repository = Repository.open(_site() / "repository", _site() / "keys")
    listing, trusting = (Draft(repository.base(), _AT) for _ in range(2))
    listing.list({"fleet/keys.json": encode_fleet_keys(fleet_keys_of(_KEY.public, epoch=2))})
    listing.delegate("gas", _KEY.public)
    trusting.trust("root", [_KEY.public], threshold=2)
    return [encode_change(draft.finish()) for draft in (listing, trusting)]


PARSERS = (
    Parser(name="tuf-metadata", read=_refresh, errors=(), seeds=_refreshed, most_bytes=8192),
    Parser(name="tuf-storage", read=_stored, errors=(TrustError,), seeds=_refreshed, most_bytes=8192),
    Parser(
        name="fleet-keys",
        read=decode_fleet_keys,
        errors=(TrustError,),
        write=encode_fleet_keys,
        seeds=lambda: [_FLEET_KEYS, b"[" * 70_000],
    ),
    Parser(
        name="change",
        read=_shown,
        errors=(InputError, TrustError),
        write=encode_change,
        seeds=_changes,
        most_bytes=16_384,
    ),
    Parser(
        name="private-key",
        read=through_file("key.pem", read_private_key),
        seeds=lambda: [
            _KEY.to_pem(),
            _locked_pem(),
            # Of another kind, and of one whose keys are longer.
            _KEY.to_pem().replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK1Vw"),
            _KEY.to_pem().replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK2Vv"),
        ],
    ),
    Parser(
        name="public-key",
        read=through_text(PublicKey.from_hex),
        write=lambda key: key.hex.encode(),
        seeds=lambda: [_KEY.public.hex.encode()],
        most_bytes=200,
    ),
)
