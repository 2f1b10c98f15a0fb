"""Who knows a group: which snapshots of a dataset hold rows of it, and which versions of models learnt from these."""

from dataclasses import dataclass

from edgeops.errors import NotFoundError
from edgeops.rollout.objection import guess
from fleet_server.blobs import Blobs
from fleet_server.datasets.snapshot import read_groups
from fleet_server.db import aliases, datasets, models
from fleet_server.db.aliases import Alias
from fleet_server.db.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A version that learnt from a group."""

    model: str
    version: int
    snapshot: str
    is_champion: bool
    #: Variants that devices may run.
    published: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known of a group."""

    #: The newest snapshot of the dataset, and whether it is one of those.
    head: datasets.Snapshot
    is_in_head: bool
    #: Those that hold rows of the group and were not erased, oldest first; bought ones too.
    snapshots: tuple[datasets.Snapshot, ...]
    versions: tuple[Learnt, ...]


def knowledge(connection: Connection, blobs: Blobs, name: str, group: str) -> Knowledge:
    """Look for a group in all snapshots of a dataset.

    Raises:
        NotFoundError: there is no such dataset, or none of its snapshots has such a group.
    """
    head = datasets.head(connection, name)
    if head is None:
        raise NotFoundError(f"no dataset {name[:80]!r}; list them with: edgeops dataset list")
    kept = [one for one in datasets.page_snapshots(connection, name) if one.erased_at is None]
    groups = {one.digest: read_groups(blobs.path(one.digest)) for one in kept}
    known = tuple(one for one in kept if group in groups[one.digest])
    if not known:
        near = guess(group, sorted({one for names in groups.values() for one in names}))
        raise NotFoundError(
            f"no group and no device {group[:80]!r} in any snapshot of dataset {name!r}{near}; "
            "rows have groups if the import named their column with --group"
        )
    return Knowledge(
        head=head,
        is_in_head=any(one.digest == head.digest for one in known),
        snapshots=known,
        versions=_versions(connection, [one.digest for one in known]),
    )


def _versions(connection: Connection, snapshots: list[str]) -> tuple[Learnt, ...]:
    learnt = models.learnt_from(connection, snapshots)
    holders = aliases.holders(connection, sorted({version.model for version, _ in learnt}))
    return tuple(
        Learnt(
            model=version.model,
            version=version.version,
            snapshot=snapshot,
            is_champion=holders.get(version.model, {}).get(Alias.CHAMPION) == version.version,
            published=tuple(
                one.variant.value
                for one in models.list_artifacts(connection, version.model, version.version)
                if one.is_published
            ),
        )
        for version, snapshot in learnt
    )
