"""What TAB offers where a command takes the name of something that only the server knows.

One function for each kind of thing, for typer's `autocompletion=`. It asks the server that the command would ask, as
`edgeops.cli.connection` finds it. It changes nothing, and offers nothing where the answer is not there at once: who
types waits for no server, and reads no error between two words.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import typer

from edgeops import limits
from edgeops.api.client import Client
from edgeops.api.shapes import KeyRole
from edgeops.cli.bash import HEAD
from edgeops.cli.connection import connect

#: A name, and a few words about it; bash does not show them.
Candidate = tuple[str, str]

_HELD = (KeyRole.ROOT, KeyRole.TARGETS)
#: For all requests together.
_DEADLINE_S = 1.0
_MOST = limits.PAGE_SIZE
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,@-]*")
_UNSAFE_WORDS = re.compile(r"[^\w .,@/+-]+")


def _asked(find: Callable[[Client, str], Iterable[Candidate]]) -> Callable[[typer.Context, str], list[Candidate]]:
    """`find` as typer calls it: what was typed is the beginning of what is offered."""

    def complete(context: typer.Context, incomplete: str) -> list[Candidate]:
        head = os.environ.get(HEAD, "")
        typed = f"{head}{incomplete}"
        found: list[Candidate] = []

        def ask() -> None:
            data = context.params.get("data")
            # Nothing is to be told, whatever it is: the command that is being typed will tell it.
            with (
                suppress(Exception),
                connect(context.params.get("url"), context.params.get("token"), Path(data) if data else None) as client,
            ):
                fitting = (one for one in find(client, typed) if one[0].startswith(typed) and is_safe(one[0]))
                found.extend(list(islice(fitting, _MOST)))

        # A thread of its own, as no timeout of a socket ends the search for an address, or an answer that trickles.
        asking = Thread(target=ask, daemon=True)
        asking.start()
        asking.join(_DEADLINE_S)
        return [(name.removeprefix(head), " ".join(_UNSAFE_WORDS.sub(" ", about).split())) for name, about in found]

    return complete


@_asked
def devices(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of devices."""
    return ((one.id, one.name) for one in client.devices())


@_asked
def listed_devices(client: Client, typed: str) -> Iterator[Candidate]:
    """Ids of devices with commas between them; the last one is completed."""
    before, comma, _ = typed.rpartition(",")
    return ((f"{before}{comma}{one.id}", one.name) for one in client.devices())


@_asked
def deployments(client: Client, _typed: str) -> Iterable[Candidate]:
    """Names that devices know deployments by; those of the first devices, as most have the same."""
    names: set[str] = set()
    for one in islice(client.devices(), _MOST):
        names.update(each.deployment for each in one.deployments)
        names.update(each.deployment for each in one.desired)
    return [(name, "") for name in sorted(names)]


@_asked
def groups(client: Client, _typed: str) -> Iterator[Candidate]:
    """Names of groups."""
    return ((one.name, one.selector or "a list of devices") for one in client.groups.every())


@_asked
def datasets(client: Client, _typed: str) -> Iterator[Candidate]:
    """Names of datasets."""
    return ((one.name, f"{one.head.rows} rows" if one.head else "") for one in client.datasets())


@_asked
def recipes(client: Client, _typed: str) -> Iterator[Candidate]:
    """Names of recipes."""
    return ((one.name, one.about) for one in client.recipes())


@_asked
def models(client: Client, _typed: str) -> Iterator[Candidate]:
    """Names of models."""
    return _models(client)


@_asked
def versions(client: Client, _typed: str) -> Iterator[Candidate]:
    """MODEL@VERSION, the newest first."""
    return _versions(client)


@_asked
def models_or_versions(client: Client, typed: str) -> Iterator[Candidate]:
    """MODEL, or MODEL@VERSION once the `@` is typed."""
    return _versions(client) if "@" in typed else _models(client)


@_asked
def rollouts(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of rollouts, the newest first."""
    return ((one.id, f"{one.state}, {one.model}@{one.version} to {one.deployment}") for one in client.rollouts())


@_asked
def retrainings(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of retrainings, the newest first."""
    return ((one.id, f"{one.state}, {one.model}") for one in client.retrainings())


@_asked
def jobs(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of jobs, the newest first."""
    return ((one.id, f"{one.kind}, {one.state}") for one in client.jobs())


@_asked
def runs(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of runs, the newest first."""
    return ((one.id, f"{one.model}, {one.state}") for one in client.runs())


@_asked
def incidents(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of incidents that are open."""
    return ((one.id, f"{one.device_id}, {one.cause}") for one in client.incidents(is_open=True))


@_asked
def tokens(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of tokens that still open something."""
    return ((one.id, f"{one.name}, {one.role}") for one in client.tokens() if one.revoked_at is None)


@_asked
def webhooks(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of webhooks."""
    return ((one.id, urlsplit(one.url).hostname or "") for one in client.webhooks.list())


@_asked
def keys(client: Client, _typed: str) -> Iterator[Candidate]:
    """Ids of keys that people may hold."""
    every = client.keys()
    return ((one.key_id, one.role) for one in every if one.role in _HELD)


@_asked
def authorities(client: Client, _typed: str) -> Iterator[Candidate]:
    """Fingerprints of CAs, in hex digits alone."""
    return (
        (one.fingerprint.removeprefix("sha256:"), f"ends {one.ends_at:%Y-%m-%d}")
        for one in client.authorities().authorities
    )


def is_safe(name: str) -> bool:
    """Whether the shells' scripts, which expand and evaluate what they are given, leave it as it is."""
    return _SAFE_NAME.fullmatch(name) is not None


def _models(client: Client) -> Iterator[Candidate]:
    return ((one.name, one.task) for one in client.models())


def _versions(client: Client) -> Iterator[Candidate]:
    for one in client.models():
        aliases = {one.challenger: "challenger", one.champion: "champion"}
        # None is ever taken away, so that all up to the latest are there.
        for version in range(one.latest_version or 0, 0, -1):
            yield f"{one.name}@{version}", aliases.get(version, "")
