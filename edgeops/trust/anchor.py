"""The head of the audit trail inside the TUF timestamp, signed with it.

Every device keeps the newest timestamp that it verified, and anybody may keep one: a trail that does not lead to what
such a timestamp names was cut off or written anew, whoever shows it. The field is one of ours beside those of TUF
(specification 1.0, 4.2: others are ignored), so that devices need not know it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Root, Timestamp  # type: ignore[attr-defined]  # python-tuf fills __all__ at run time
from tuf.api.serialization import DeserializationError

from edgeops.errors import InputError, TrustError
from edgeops.trust.storage import parsed
from edgeops.trust.trail import Anchor

FIELD = "x-edgeops-audit"


def anchor_in(timestamp: Timestamp) -> Anchor | None:
    """What a timestamp says of the trail; None = nothing."""
    value: Mapping[str, Any] | None = timestamp.unrecognized_fields.get(FIELD)
    return None if value is None else msgspec.convert(value, Anchor)


def write_anchor(timestamp: Timestamp, anchor: Anchor) -> None:
    """Let a timestamp, when it is signed next, say this of the trail."""
    timestamp.unrecognized_fields[FIELD] = msgspec.to_builtins(anchor)


def read_anchor(folder: Path) -> tuple[Anchor, int]:
    """What the `timestamp.json` of a folder says of the trail, by the keys of the `root.json` there, and its version.

    It may have expired: it is a witness of its time.

    Raises:
        InputError: a file is missing or unreadable, or says nothing of the trail.
        TrustError: the root's timestamp keys did not sign it.
    """
    try:
        root = parsed((folder / "root.json").read_bytes(), Root)
        timestamp = parsed((folder / "timestamp.json").read_bytes(), Timestamp)
        root.verify_delegate(Root.type, root)
        root.verify_delegate(Timestamp.type, timestamp)
        anchor = anchor_in(timestamp.signed)
    except (OSError, DeserializationError) as error:
        raise InputError(f"cannot read root.json and timestamp.json in {folder}: {error}") from error
    except msgspec.ValidationError as error:
        raise InputError(f"what {folder}/timestamp.json says of the audit trail is unreadable: {error}") from error
    except RepositoryError as error:
        raise TrustError(f"{folder}/timestamp.json is not signed by the keys of its root.json: {error}") from error
    if anchor is None:
        raise InputError(f"{folder}/timestamp.json says nothing of the audit trail; it is from before it was anchored")
    return anchor, timestamp.signed.version
