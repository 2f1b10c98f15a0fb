"""TUF's client workflow on a device: what current metadata lists, and the content of targets.

It trusts only the chain of roots that begins at the pinned one, and follows the delegations of targets until the end
that the targets key gave them. What a listed target means, and whether a model may run because of it, is decided
elsewhere.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from tuf.api import exceptions
from tuf.api.metadata import Root, Signed, Snapshot, TargetFile, Targets, Timestamp  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from edgeops.digest import is_of_the_disk
from edgeops.limits import MAX_METADATA_BYTES
from edgeops.trust.delegation import delegated_to, end_of, within
from edgeops.trust.fetching import NOT_FOUND
from edgeops.trust.frames import FailureKind

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


@dataclass(frozen=True, slots=True)
class Places:
    """Where a client keeps what it trusts, and from where it fetches."""

    metadata: Path
    #: Verified targets, named by their quoted path.
    targets: Path
    #: The root that every later one must descend from.
    root: bytes
    metadata_url: str = "metadata/"
    targets_url: str = "targets/"


class Verification:
    """One refresh by tuf's client workflow (TUF specification 1.0, 5), and what may be asked after it.

    All methods raise tuf's `RepositoryError` and `DownloadError`; `kind_of` names them.
    """

    def __init__(self, places: Places, fetcher: FetcherInterface, *, now: datetime) -> None:
        """`now` decides about expiry."""
        self._targets = places.targets
        for folder in (places.metadata, places.targets):
            folder.mkdir(parents=True, exist_ok=True)
        self._updater = Updater(
            str(places.metadata),
            places.metadata_url,
            str(places.targets),
            places.targets_url,
            fetcher,
            UpdaterConfig(
                root_max_length=MAX_METADATA_BYTES,
                timestamp_max_length=MAX_METADATA_BYTES,
                snapshot_max_length=MAX_METADATA_BYTES,
                targets_max_length=MAX_METADATA_BYTES,
            ),
            bootstrap=places.root,
        )
        # python-tuf has no public way to say what time it is; a device without a clock battery
        # needs one (tests/integration/test_trust_client.py pins this).
        self._trusted = self._updater._trusted_set  # noqa: SLF001 - see above
        self._trusted.reference_time = now

    def refresh(self) -> None:
        """Bring the top-level metadata up to date."""
        self._updater.refresh()

    def find(self, path: str) -> TargetFile | None:
        """What targets lists as `path`, or a role that it delegates to and that has not ended.

        python-tuf asks for the expiry that the delegated role signed itself; the end of the delegation is signed
        by targets.
        """
        top = self._trusted.targets
        if path not in top.targets:
            end = end_of(top, path)
            if end is not None and end <= self._trusted.reference_time:
                raise exceptions.ExpiredMetadataError(f"the delegation that covers {path} ended at {end.isoformat()}")
        return self._updater.get_targetinfo(path)

    def file(self, target: TargetFile) -> Path:
        """A listed target, verified; fetched unless it is here already."""
        return Path(self._updater.find_cached_target(target) or self._updater.download_target(target))

    def listed(self) -> dict[str, TargetFile]:
        """What top-level targets lists, and of delegated roles those that were asked."""
        listed = dict(self._trusted.targets.targets)
        for role in self._asked_delegates():
            listed.update(within(self._trusted.targets, role, cast("Targets", self._trusted[role])))
        return listed

    def roles(self) -> dict[str, Signed]:
        """The metadata that counts, by role; delegated ones that were asked."""
        return {role: self._trusted[role] for role in (*_TOP_LEVEL, *self._asked_delegates())}

    @property
    def timestamp_keys(self) -> tuple[str, ...]:
        """Ids of the keys that the newest root names for timestamp, also where what follows it was refused."""
        return tuple(sorted(self._trusted.root.roles[Timestamp.type].keyids))

    def forget_all_but(self, listed: Collection[str]) -> None:
        """What no role vouches for leaves the cache."""
        for file in self._targets.iterdir():
            if unquote(file.name) not in listed:
                file.unlink()

    def _asked_delegates(self) -> list[str]:
        names = delegated_to(self._trusted.targets)
        return [name for name in names if self._trusted.contains(name, Targets.type)]


def kind_of(error: Exception) -> FailureKind:
    """What an error of a verification says."""
    if isinstance(error, exceptions.DownloadHTTPError) and error.status_code == NOT_FOUND:
        return FailureKind.MISSING
    if is_of_the_disk(error):
        return FailureKind.DISK
    return next((kind for narrow, kind in _KINDS if isinstance(error, narrow)), FailureKind.OTHER)
