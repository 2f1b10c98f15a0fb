"""Where models came from and where they ran: from an answer of a device back to the rows that were learnt."""

from pydantic import AwareDatetime

from edgeops.api.shapes.models import Run
from edgeops.api.shapes.shape import Answer


class Stay(Answer):
    """A version ran on a deployment of a device."""

    device: str
    deployment: str
    version: int
    variant: str
    digest: str
    since: AwareDatetime
    #: Null = it runs there, as far as is known.
    until: AwareDatetime | None = None
    rollout: str
    installation: str


class LearntSnapshot(Answer):
    """Rows that were learnt from."""

    digest: str
    dataset: str
    rows: int
    #: Digest of the imported file.
    source: str
    #: Rows that devices nominated and people labelled, and whose devices these were.
    bought_rows: int = 0
    devices: tuple[str, ...] = ()
    #: Devices whose rows were left out.
    without: tuple[str, ...] = ()
    created_at: AwareDatetime
    erased_at: AwareDatetime | None = None


class Lineage(Answer):
    """What a version was made of, and what became of it."""

    model: str
    version: int
    run: Run
    #: The one that was learnt from, then its parent, and so on.
    snapshots: tuple[LearntSnapshot, ...]
    #: Of the model that it healed, if it did; its lineage goes on there.
    champion: int | None = None


class Answered(Answer):
    """Which version gave an answer."""

    device: str
    deployment: str
    input_id: str
    answered_at: AwareDatetime
    digest: str
    #: Null = an artifact that this server never had.
    model: str | None = None
    version: int | None = None
    variant: str | None = None
