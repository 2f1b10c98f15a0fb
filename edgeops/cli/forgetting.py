"""The words for what forgetting a group would do."""

from collections.abc import Iterator

from edgeops.api.shapes import GroupKnowledge
from edgeops.cli.output import short_digest


def told_of_group(known: GroupKnowledge, *, erase: bool) -> Iterator[str]:
    """One line for each thing to know beforehand."""
    if known.is_in_head:
        yield f"a new snapshot of {known.dataset} leaves all rows of {known.group} out"
    else:
        yield f"the newest snapshot of {known.dataset} has no row of {known.group}"
    held = ", ".join(str(short_digest(digest)) for digest in known.snapshots)
    yield f"{'deleted for good' if erase else 'kept, with its rows'}: snapshots {held}"
    for one in known.versions:
        standing = ["champion"] if one.is_champion else []
        standing += [f"published: {', '.join(one.published)}"] if one.published else []
        yield f"{one.model}@{one.version} learnt from it" + (f" ({'; '.join(standing)})" if standing else "")
    if erase and known.versions:
        yield "these versions can no longer be reproduced, nor retrained by policy"
