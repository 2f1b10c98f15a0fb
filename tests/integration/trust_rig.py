"""A repository, a device that was enrolled with its first root, and what stands between them."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from edgeops import limits
from edgeops.trust.client import verify
from edgeops.trust.frames import Ask, Failure, FailureKind, Result, converse
from edgeops.trust.repository import Repository

DESCRIPTOR = "models/digits/1-int8.json"
SECOND = "models/digits/2-int8.json"

Fetch = Callable[[str], bytes | None]


class FunctionFetcher(FetcherInterface):
    """Fetches from a function."""

    def __init__(self, fetch: Fetch) -> None:
        self._function = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._function(url)
        if data is None:
            raise DownloadHTTPError(f"no {url}", 404)
        return iter((data,))


class Site:
    """A repository, and a device that was enrolled with its first root."""

    def __init__(self, folder: Path) -> None:
        self.served = folder / "repository"
        self.keys = folder / "keys"
        self.state = folder / "trust"
        self.now = datetime.now(UTC)
        self.repository = Repository.create(self.served, self.keys, self.now)
        self.repository.publish({DESCRIPTOR: b'{"one": 1}'}, self.now)
        self.enrol(self.repository.trusted_root())

    def enrol(self, root: bytes) -> None:
        (self.state / "metadata").mkdir(parents=True)
        (self.state / "metadata/root.json").write_bytes(root)

    def read(self, path: str) -> bytes | None:
        file = self.served / path
        return file.read_bytes() if file.exists() else None

    def ask_child(
        self,
        *targets: str,
        now: datetime | None = None,
        fetch: Fetch | None = None,
        max_bytes: int = limits.MAX_MANIFEST_BYTES,
    ) -> Result | Failure:
        """One child process, as the agent starts it."""
        ask = Ask(targets=targets, max_bytes=max_bytes, now=int((now or self.now).timestamp()))
        command = [sys.executable, "-m", "edgeops.trust.client", "--state", str(self.state)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            outcome = converse(child.stdin, child.stdout, ask=ask, fetch=fetch or self.read)
        assert child.returncode == int(isinstance(outcome, Failure))
        return outcome

    def ask(
        self,
        *targets: str,
        now: datetime | None = None,
        fetch: Fetch | None = None,
        max_bytes: int = limits.MAX_MANIFEST_BYTES,
    ) -> Result | Failure:
        """What the child does, in this process: an attack does not know the difference."""
        ask = Ask(targets=targets, max_bytes=max_bytes, now=int((now or self.now).timestamp()))
        return verify(self.state, ask, fetcher=FunctionFetcher(fetch or self.read))

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.served, self.served.parent / name))


def kind_of(outcome: Result | Failure) -> FailureKind:
    assert isinstance(outcome, Failure), outcome
    assert outcome.detail
    return outcome.kind


def listed(outcome: Result | Failure) -> set[str]:
    assert isinstance(outcome, Result), outcome
    return set(outcome.listed)


def replaced(fetch: Fetch, path: str, data: bytes | None) -> Fetch:
    return lambda wanted: data if wanted == path else fetch(wanted)


@contextmanager
def served(site):
    """What the site publishes, over HTTP; the address."""
    handler = functools.partial(_Quiet, directory=str(site.served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        """Nobody reads it."""
