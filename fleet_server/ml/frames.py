"""How the jobs process and its worker talk: length-prefixed MessagePack over two pipes.

One task goes down, progress and one ending come up. Values only; `worker` and `supervisor` act on them.
"""

from typing import Annotated, BinaryIO, ClassVar

import msgspec

from edgeops.artifact.manifest import USUAL_VARIANTS, Variant
from edgeops.data.inspection import Inspection
from edgeops.data.rules import Rules
from edgeops.data.schema import Schema
from edgeops.learning.attribution import ColumnShare
from edgeops.learning.folds import Folds
from edgeops.learning.promotion_policy import PromotionPolicy
from edgeops.learning.scrutiny import Scrutiny
from edgeops.model.brought import Instructions
from fleet_server.ml.epoch import Epoch

_LENGTH_BYTES = 4
#: In the folder for temporary files of the child.
LAST_WORDS_FILE = "last-words"
#: A schema of 4,096 columns takes well under 1 MiB.
_MAX_FRAME_BYTES = 16 * 1024 * 1024


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What all frames have in common."""


class Import(Frame, frozen=True, kw_only=True):
    """Read a file, write a snapshot."""

    source: str
    #: How its owner calls the file.
    file_name: str
    rules: Rules
    #: Where the snapshot goes, and what was refused.
    destination: str
    quarantine: str


class Inspect(Frame, frozen=True, kw_only=True):
    """Read a file, write nothing."""

    source: str
    #: How its owner calls the file.
    file_name: str


class Extend(Frame, frozen=True, kw_only=True):
    """Write a snapshot of another one and of bought rows."""

    parent: str
    parent_digest: str
    #: File of `fleet_server.datasets.buying.Bought`, a MessagePack list.
    bought: str
    without: tuple[str, ...]
    #: Where the snapshot goes.
    destination: str


class Forget(Frame, frozen=True, kw_only=True):
    """Write a snapshot of another one without a group."""

    parent: str
    group: str
    #: What was refused of the parent; None = nothing.
    quarantine: str | None
    #: Folder that the snapshot and what was refused go into.
    destination: str


class Nominated(msgspec.Struct, frozen=True, array_like=True):
    """A row that a device nominated, labelled or not."""

    #: Raw readings, float32 little-endian.
    values: bytes
    #: Rows of its device that it stands for.
    weight: float


class Healing(msgspec.Struct, frozen=True, kw_only=True):
    """What a healed model is made of beside its snapshot."""

    #: How much one bought row counts against an imported one.
    label_weight: float
    #: `edgeops.sketch.window` packed: the inputs it is healed on, no device counting more than its share; empty = none.
    inputs: bytes
    #: File of `Nominated`, a MessagePack list.
    nominated: str


class Build(Frame, frozen=True, kw_only=True):
    """Train on a snapshot, write one artifact per variant."""

    snapshot: str
    snapshot_digest: str
    model: str
    version: int
    run: str
    recipe: str
    #: Its folder, where it is one of the owner's own; None = it is one of EdgeOps.
    recipes: str | None = None
    seed: int
    epochs: int | None
    options: dict[str, float | str]
    #: Which artifacts are written; float32, which judges the others, is always among them.
    variants: tuple[Variant, ...] = USUAL_VARIANTS
    commit: str
    #: Digest of what is not committed.
    difference: str | None = None
    #: RFC 3339, for the descriptor.
    built_at: str
    host: str
    #: So many trainings more, each judged on training rows that it was not shown; None = none.
    folds: int | None = None
    #: Folder the artifacts go into.
    destination: str
    #: Files of the artifacts that it is compared with, by variant; empty = none.
    champion: dict[Variant, str] = {}
    #: The snapshot that the champion learnt from; None = there is no champion, or its rows were erased.
    champion_snapshot: str | None = None
    #: File of `fleet_server.datasets.buying.Bought`, a MessagePack list: labelled samples of devices that judge it,
    #: if it does not learn from them; None = there are none.
    recent: str | None = None
    #: None = not trained to heal the champion.
    healing: Healing | None = None
    #: What the promotion gate tolerates.
    policy: PromotionPolicy = PromotionPolicy()


class Bring(Frame, frozen=True, kw_only=True):
    """Make artifacts of a model that a person brings, judged on the rows of a snapshot."""

    #: What lineage calls it.
    recipe: ClassVar[str] = "brought"
    #: Nothing is drawn by chance that a person could want otherwise.
    seed: ClassVar[int] = 0
    healing: ClassVar[None] = None
    folds: ClassVar[None] = None

    #: The file, its digest, and how its owner calls it.
    source: str
    source_digest: str
    file_name: str
    instructions: Instructions
    snapshot: str
    snapshot_digest: str
    model: str
    version: int
    run: str
    #: Of a network that is converted; a finished file stays what it is.
    variants: tuple[Variant, ...] = USUAL_VARIANTS
    commit: str
    #: Digest of what is not committed.
    difference: str | None = None
    #: RFC 3339, for the descriptor.
    built_at: str
    host: str
    #: Folder the artifacts go into.
    destination: str
    #: As for `Build`.
    champion: dict[Variant, str] = {}
    champion_snapshot: str | None = None
    recent: str | None = None
    policy: PromotionPolicy = PromotionPolicy()
    #: How long the model may take for its first answers, in seconds.
    patience_s: float


class Warm(Frame, frozen=True, kw_only=True):
    """Import TensorFlow now, so that the first training need not wait for it; there is no answer."""


#: What is done by a child of its own, without TensorFlow.
Reading = Import | Inspect | Extend | Forget
#: What opens files of people, and so is done by a child of its own, which ends behind it.
Apart = Reading | Bring
#: What has an ending.
Work = Apart | Build
Task = Work | Warm


class Progress(Frame, frozen=True, kw_only=True):
    """What the worker does now, and the share of the task that is done."""

    step: str
    share: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    #: A pass over the training rows that is over now.
    epoch: Epoch | None = None


class Imported(Frame, frozen=True, kw_only=True):
    """The snapshot of an `Import`, `Extend` or `Forget` is written."""

    schema: Schema


class Inspected(Frame, frozen=True, kw_only=True):
    """A file was looked at."""

    inspection: Inspection


class BuiltVariant(Frame, frozen=True, kw_only=True):
    """One artifact is written."""

    variant: Variant
    file: str
    tflite_bytes: int
    #: The exact bytes that TUF will sign.
    descriptor: bytes
    metrics: dict[str, float]
    scrutiny: Scrutiny = Scrutiny()


class Built(Frame, frozen=True, kw_only=True):
    """All artifacts are written."""

    variants: tuple[BuiltVariant, ...]
    #: What a person should know of the data, in words.
    warnings: tuple[str, ...] = ()
    #: None = nobody asked for them.
    folds: Folds | None = None
    #: What the float network goes by; empty = it has none here, or its inputs are no columns.
    shares: tuple[ColumnShare, ...] = ()


class Refused(Frame, frozen=True, kw_only=True):
    """The task cannot be done, and `reason` tells its owner why."""

    reason: str


class Crashed(Frame, frozen=True, kw_only=True):
    """A bug, or a library's failure; the worker is not to be trusted any more."""

    reason: str
    #: Where each of its threads was, as `faulthandler` writes it; "" = it did not end by a signal that can be heard.
    last_words: str = ""


Ending = Imported | Inspected | Built | Refused | Crashed
Report = Progress | Ending


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Send one frame and flush it."""
    data = msgspec.msgpack.encode(frame)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    stream.flush()


def read_task(stream: BinaryIO) -> Task | None:
    """Wait for the next task; None when the other side is gone."""
    head = stream.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    data = stream.read(int.from_bytes(head, "big"))
    task: Task = msgspec.msgpack.decode(data, type=Task)
    return task


class ReportBuffer:
    """Collects bytes as they come and cuts them into reports."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Report]:
        """The reports that are complete with `data`.

        Raises:
            ValueError: the other side speaks something else.
        """
        self._bytes += data
        reports = []
        while len(self._bytes) >= _LENGTH_BYTES:
            length = int.from_bytes(self._bytes[:_LENGTH_BYTES], "big")
            if length > _MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes from the worker exceeds {_MAX_FRAME_BYTES}")
            end = _LENGTH_BYTES + length
            if len(self._bytes) < end:
                break
            reports.append(msgspec.msgpack.decode(self._bytes[_LENGTH_BYTES:end], type=Report))
            del self._bytes[:end]
        return reports
