"""Where the TUF client gets metadata and targets: from its parent process, or over HTTP.

Nothing that is fetched is believed here; `edgeops.trust.verification` judges it.
"""

import urllib.error
from collections.abc import Iterator
from http.client import HTTPException
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from edgeops.errors import ConfigError
from edgeops.limits import TRUST_TIMEOUT
from edgeops.trust.frames import Answer, Said, read_frame, write_frame
from edgeops.trust.transport import opener, unbelieved_context

NOT_FOUND = 404
_PIECE_BYTES = 64 * 1024


class ParentFetcher(FetcherInterface):
    """Has the parent fetch: it owns the one connection to the server."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink

    def _fetch(self, url: str) -> Iterator[bytes]:
        write_frame(self._sink, Said(need=url))
        answer = read_frame(self._source, Answer)
        if answer.missing:
            raise exceptions.DownloadHTTPError(f"the server has no {url}", NOT_FOUND)
        if answer.data is None:
            raise exceptions.DownloadError(f"cannot fetch {url}: {answer.error}")
        return iter((answer.data,))


class HttpFetcher(FetcherInterface):
    """Fetches below one base URL of the fleet server, where there is no other connection; or whole URLs."""

    def __init__(self, base: str) -> None:
        if urlsplit(base).scheme not in {"http", "https"}:
            raise ConfigError(f"not an http or https URL: {base!r}; give the fleet server's address, ending in /tuf")
        self._base = f"{base.rstrip('/')}/"
        # What comes proves itself; so a device finds back whose CAs are all replaced (`device_agent.wayback`).
        self._opener = opener(unbelieved_context())

    def _fetch(self, url: str) -> Iterator[bytes]:
        whole = urljoin(self._base, url)
        try:
            response = self._opener.open(whole, timeout=TRUST_TIMEOUT.total_seconds())
        except urllib.error.HTTPError as error:
            with error:
                raise exceptions.DownloadHTTPError(f"{error.code} for {whole}", error.code) from error
        except (OSError, HTTPException) as error:
            raise exceptions.DownloadError(f"cannot fetch {whole}: {error}") from error
        return _pieces(response, whole)


def _pieces(response: BinaryIO, url: str) -> Iterator[bytes]:
    with response:
        try:
            while piece := response.read(_PIECE_BYTES):
                yield piece
        except (OSError, HTTPException) as error:
            raise exceptions.DownloadError(f"lost {url} on the way: {error}") from error
