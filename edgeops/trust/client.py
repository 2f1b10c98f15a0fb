"""The trust child: verifies TUF metadata and targets for a parent that must not import tuf.

    python -m edgeops.trust.client --state FOLDER [--url URL]

It reads one `Ask` from stdin, has the parent fetch what it needs (or fetches over HTTP with `--url`),
and ends with one `Result` (exit 0) or one `Failure` (exit 1); `edgeops.trust.frames` has the frames. What it verifies,
and how, is `edgeops.trust.verification`'s.
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from edgeops.digest import sync_tree, write_atomically
from edgeops.errors import ConfigError, TrustError
from edgeops.limits import MAX_DETAIL_LENGTH
from edgeops.trust.fetching import HttpFetcher, ParentFetcher
from edgeops.trust.floor import is_fallen
from edgeops.trust.frames import Ask, Failure, FailureKind, Result, Said, read_frame, write_frame
from edgeops.trust.verification import Places, Verification, kind_of

_PINNED_ROOT = "root.json"


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
        outcome = verify(options.state, ask, fetcher=fetcher)
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


def verify(state: Path, ask: Ask, *, fetcher: FetcherInterface) -> Result | Failure:
    """Refresh the metadata below `state` and return what is listed, and the asked targets.

    Whatever fails, the metadata that was trusted before stays usable.
    """
    state.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(state), _durable(state / "metadata"):
            places = Places(state / "metadata", state / "targets", _pinned_root(state))
            return _judged(places, fetcher, ask)
    except (exceptions.RepositoryError, exceptions.DownloadError, TrustError, OSError) as error:
        return Failure(kind=kind_of(error), detail=(str(error) or type(error).__name__)[:MAX_DETAIL_LENGTH])


def _judged(places: Places, fetcher: FetcherInterface, ask: Ask) -> Result:
    """By the floor, and where something has ended by that and the newest root has let it fall, by the clock alone."""
    verification = Verification(places, fetcher, now=datetime.fromtimestamp(ask.now, UTC))
    try:
        return _answer(verification, ask)
    except exceptions.ExpiredMetadataError:
        if ask.without_floor is None or not is_fallen(ask.timestamp_keys, verification.timestamp_keys):
            raise
    return _answer(Verification(places, fetcher, now=datetime.fromtimestamp(ask.without_floor, UTC)), ask)


def _answer(verification: Verification, ask: Ask) -> Result:
    verification.refresh()
    targets = {path: _content(verification, path, ask.max_bytes) for path in ask.targets}
    listed = verification.listed()
    verification.forget_all_but(listed)
    roles = verification.roles()
    return Result(
        targets=targets,
        listed={path: target.length for path, target in listed.items()},
        versions={role: signed.version for role, signed in roles.items()},
        expires={role: int(signed.expires.timestamp()) for role, signed in roles.items()},
        timestamp_keys=verification.timestamp_keys,
    )


def _content(verification: Verification, path: str, max_bytes: int) -> bytes | None:
    target = verification.find(path)
    if target is None:
        return None
    if target.length > max_bytes:
        raise exceptions.LengthOrHashMismatchError(
            f"target {path} has {target.length} bytes, more than the {max_bytes} asked for"
        )
    return verification.file(target).read_bytes()


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


@contextmanager
def _durable(metadata: Path) -> Iterator[None]:
    """A rename of tuf's is not asked of the disk to be kept: a power cut could lose what no older one may replace.

    Also after a refusal: what was verified before it counts.
    """
    try:
        yield
    finally:
        if metadata.is_dir():
            sync_tree(metadata)


if __name__ == "__main__":
    sys.exit(main())
