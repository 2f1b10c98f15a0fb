"""What a batch of messages adds to the database: small values, written many at a time.

Each entry can be written alone or with others, and written twice. That is what lets a failing batch
be divided until the one entry that the database refuses stands alone.
"""

from dataclasses import dataclass
from datetime import datetime

from edgeops.protocol.messages import Benchmarked, Reported, Status
from edgeops.sketch.window import Sketch
from fleet_server.db.ingest import MarkRow, PredictionRow, QuarantineRow, WindowRow
from fleet_server.db.samples import SampleRow


@dataclass(frozen=True, slots=True)
class Place:
    """The key of one spool record, and of those that were merged into it."""

    device_id: str
    spool: bytes
    seq: int
    absorbed: tuple[int, ...] = ()


# -- for `control` --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PresenceTold:
    """A birth or last will of the current session."""

    device_id: str
    status: Status
    session_counter: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ReportedTold:
    """What a device really runs."""

    device_id: str
    reported: Reported
    at: datetime


@dataclass(frozen=True, slots=True)
class ReportTold:
    """A step of an installation, as event data."""

    device_id: str
    data: dict[str, object]
    at: datetime


@dataclass(frozen=True, slots=True)
class NomineesTold:
    """One record of the answer to a nomination."""

    device_id: str
    nomination: str
    part: int
    last: bool
    samples: int
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BenchmarkTold:
    """What came of a benchmark."""

    device_id: str
    told: Benchmarked
    at: datetime


@dataclass(frozen=True, slots=True)
class CloneSeen:
    """Two live sessions under one id."""

    device_id: str
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Alerted:
    """Messages of one device were put aside for one reason."""

    device_id: str
    reason: str
    count: int
    #: Of the first one.
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """A device spoke."""

    device_id: str
    at: datetime


ControlEntry = PresenceTold | ReportedTold | ReportTold | NomineesTold | BenchmarkTold | CloneSeen | Alerted | Heard


# -- for `telemetry` --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WindowStored:
    """A telemetry window."""

    place: Place
    row: WindowRow
    #: Of `row["sketch"]`; None when the window has none.
    sketch: Sketch | None


@dataclass(frozen=True, slots=True)
class PredictionsStored:
    """A batch of answers."""

    place: Place
    rows: list[PredictionRow]


@dataclass(frozen=True, slots=True)
class SamplesStored:
    """Nominated inputs."""

    place: Place
    rows: list[SampleRow]


@dataclass(frozen=True, slots=True)
class Taken:
    """A record that counts as received and leaves no row of its own."""

    place: Place


@dataclass(frozen=True, slots=True)
class Advanced:
    """A device came further in one kind of message."""

    row: MarkRow


@dataclass(frozen=True, slots=True)
class Repeated:
    """An envelope that was seen before."""

    device_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """A message or record in quarantine."""

    row: QuarantineRow


TelemetryEntry = WindowStored | PredictionsStored | SamplesStored | Taken | Advanced | Repeated | SetAside
