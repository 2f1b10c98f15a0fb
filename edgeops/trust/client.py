"""The trust child: verifies TUF metadata and targets for a parent that must not import tuf.

    python -m edgeops.trust.client --state FOLDER [--url URL]

It reads one `Ask` from stdin, has the parent fetch what it needs (or fetches over HTTP with `--url`),
and ends with one `Result` (exit 0) or one `Failure` (exit 1); `edgeops.trust.frames` has the frames.
It trusts only the chain of roots that begins at `FOLDER/root.json`, and follows the delegations of targets
until the end that the targets key gave them. What a listed target means, and whether a model may run because of
it, is decided elsewhere.
"""

import argparse
import fcntl
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from tuf.api import exceptions
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from edgeops.digest import write_atomically
from edgeops.errors import ConfigError, TrustError
from edgeops.limits import MAX_DETAIL_LENGTH, MAX_METADATA_BYTES, TRUST_TIMEOUT
from edgeops.trust.delegation import delegated_to, end_of, within
from edgeops.trust.frames import Answer, Ask, Failure, FailureKind, Result, Said, read_frame, write_frame

_PINNED_ROOT = "root.json"
_PIECE_BYTES = 64 * 1024
_NOT_FOUND = 404
_TOP_LEVEL = (Root.type, Timestamp.type, Snapshot.type, Targets.type)

#: The narrowest class that fits comes first.
_KINDS: tuple[tuple[type[Exception], FailureKind], ...] = (
    (exceptions.ExpiredMetadataError, FailureKind.EXPIRED),
    (exceptions.UnsignedMetadataError, FailureKind.UNSIGNED),
    (exceptions.BadVersionNumberError, FailureKind.ROLLBACK),
    (exceptions.LengthOrHashMismatchError, FailureKind.LENGTH_OR_HASH),
    (exceptions.DownloadLengthMismatchError, FailureKind.LENGTH_OR_HASH),
    (exceptions.DownloadError, FailureKind.TRANSPORT),
)


def main(arguments: list[str] | None = None) -> int:
    """Run as a child process; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m edgeops.trust.client", description="TUF client child process")
    parser.add_argument("--state", type=Path, required=True, help="the trust folder of the device")
    parser.add_argument("--url", help="fetch <URL>/metadata and <URL>/targets instead of asking the parent")
    options = parser.parse_args(arguments)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        ask = read_frame(source, Ask)
        fetcher = HttpFetcher(options.url) if options.url else ParentFetcher(source, sink)
        outcome = verify(options.state, ask, fetcher=fetcher, now=datetime.now(UTC))
    except (TrustError, ConfigError) as error:
        outcome = Failure(kind=FailureKind.OTHER, detail=str(error))
    failed = isinstance(outcome, Failure)
    try:
        write_frame(sink, Said(failure=outcome) if isinstance(outcome, Failure) else Said(result=outcome))
    except BrokenPipeError:
        # The parent is gone; what is left in the buffer goes nowhere, silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return int(failed)


def verify(state: Path, ask: Ask, *, fetcher: FetcherInterface, now: datetime) -> Result | Failure:
    """Refresh the metadata below `state` and return what is listed, and the asked targets.

    `now` is the clock; the later of it and `ask.floor` decides about expiry. Whatever fails, the
    metadata that was trusted before stays usable.
    """
    state.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(state):
            return _Verification(state, ask, fetcher, now).run()
    except (exceptions.RepositoryError, exceptions.DownloadError, TrustError, OSError) as error:
        return Failure(kind=_kind(error), detail=(str(error) or type(error).__name__)[:MAX_DETAIL_LENGTH])


class ParentFetcher(FetcherInterface):
    """Has the parent fetch: it owns the one connection to the server."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink

    def _fetch(self, url: str) -> Iterator[bytes]:
        write_frame(self._sink, Said(need=url))
        answer = read_frame(self._source, Answer)
        if answer.missing:
            raise exceptions.DownloadHTTPError(f"the server has no {url}", _NOT_FOUND)
        if answer.data is None:
            raise exceptions.DownloadError(f"cannot fetch {url}: {answer.error}")
        return iter((answer.data,))


class HttpFetcher(FetcherInterface):
    """Fetches below one base URL of the fleet server; at enrolment there is no other connection yet."""

    def __init__(self, base: str) -> None:
        if urlsplit(base).scheme not in {"http", "https"}:
            raise ConfigError(f"not an http or https URL: {base!r}; give the fleet server's address, ending in /tuf")
        self._base = base.rstrip("/")
        # The fleet server is on this site: a proxy for the internet is none for it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            response = self._opener.open(f"{self._base}/{url}", timeout=TRUST_TIMEOUT.total_seconds())
        except urllib.error.HTTPError as error:
            raise exceptions.DownloadHTTPError(f"{error.code} for {self._base}/{url}", error.code) from error
        except OSError as error:
            raise exceptions.DownloadError(f"cannot fetch {self._base}/{url}: {error}") from error
        return self._pieces(response, url)

    def _pieces(self, response: BinaryIO, url: str) -> Iterator[bytes]:
        with response:
            try:
                while piece := response.read(_PIECE_BYTES):
                    yield piece
            except OSError as error:
                raise exceptions.DownloadError(f"lost {self._base}/{url} on the way: {error}") from error


class _Verification:
    """One refresh by tuf's client workflow (TUF specification 1.0, 5)."""

    def __init__(self, state: Path, ask: Ask, fetcher: FetcherInterface, now: datetime) -> None:
        self._ask = ask
        self._cache = state / "targets"
        metadata = state / "metadata"
        for folder in (self._cache, metadata):
            folder.mkdir(parents=True, exist_ok=True)
        self._updater = Updater(
            str(metadata),
            "metadata/",
            str(self._cache),
            "targets/",
            fetcher,
            UpdaterConfig(
                root_max_length=MAX_METADATA_BYTES,
                timestamp_max_length=MAX_METADATA_BYTES,
                snapshot_max_length=MAX_METADATA_BYTES,
                targets_max_length=MAX_METADATA_BYTES,
            ),
            bootstrap=_pinned_root(state),
        )
        # python-tuf has no public way to say what time it is; a device without a clock battery
        # needs one (tests/integration/test_trust_client.py pins this).
        self._trusted = self._updater._trusted_set  # noqa: SLF001 - see above
        self._trusted.reference_time = max(now, datetime.fromtimestamp(ask.floor, UTC))

    def run(self) -> Result:
        self._updater.refresh()
        targets = {path: self._content(self._find(path)) for path in self._ask.targets}
        top = self._trusted.targets
        delegated = [name for name in delegated_to(top) if self._trusted.contains(name, Targets.type)]
        listed = dict(top.targets)
        for name in delegated:
            listed.update(within(top, name, cast("Targets", self._trusted[name])))
        self._forget_unlisted(set(listed))
        roles = {role: self._trusted[role] for role in (*_TOP_LEVEL, *delegated)}
        return Result(
            targets=targets,
            listed={path: target.length for path, target in listed.items()},
            versions={role: signed.version for role, signed in roles.items()},
            expires={role: int(signed.expires.timestamp()) for role, signed in roles.items()},
        )

    def _find(self, path: str) -> TargetFile | None:
        """What targets lists as `path`, or a role that it delegates to and that has not ended.

        python-tuf asks for the expiry that the delegated role signed itself; the end of the delegation is signed
        by targets.
        """
        if path not in self._trusted.targets.targets:
            end = end_of(self._trusted.targets, path)
            if end is not None and end <= self._trusted.reference_time:
                raise exceptions.ExpiredMetadataError(f"the delegation that covers {path} ended at {end.isoformat()}")
        return self._updater.get_targetinfo(path)

    def _content(self, target: TargetFile | None) -> bytes | None:
        if target is None:
            return None
        if target.length > self._ask.max_bytes:
            raise exceptions.LengthOrHashMismatchError(
                f"target {target.path} has {target.length} bytes, more than the {self._ask.max_bytes} asked for"
            )
        path = self._updater.find_cached_target(target) or self._updater.download_target(target)
        return Path(path).read_bytes()

    def _forget_unlisted(self, listed: set[str]) -> None:
        """What no role vouches for in this answer leaves the cache; files are named by the quoted target path."""
        for file in self._cache.iterdir():
            if unquote(file.name) not in listed:
                file.unlink()


def _pinned_root(state: Path) -> bytes:
    """The root that every later one must descend from.

    Enrolment leaves it in `metadata/root.json`; it is copied at first use, because tuf later makes
    that name a link to the newest root.
    """
    pinned = state / _PINNED_ROOT
    if not pinned.exists():
        first = state / "metadata" / _PINNED_ROOT
        if not first.exists():
            raise TrustError(f"no trusted root below {state}; enrol this device first (edgeops-agent enrol URL)")
        write_atomically(pinned, first.read_bytes())
    return pinned.read_bytes()


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One at a time per folder: tuf's client is not made for company."""
    with (state / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, exceptions.DownloadHTTPError) and error.status_code == _NOT_FOUND:
        return FailureKind.MISSING
    return next((kind for narrow, kind in _KINDS if isinstance(error, narrow)), FailureKind.OTHER)


if __name__ == "__main__":
    sys.exit(main())
