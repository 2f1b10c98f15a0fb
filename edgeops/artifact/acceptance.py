"""The acceptance set of a model: labelled inputs and floors, signed by the targets key, run by every device.

A model that was retrained on its own is signed by a key that lies on the server. What bounds that key is the target
`models/<model>/acceptance`: up to 256 raw input windows with their classes, and the shares of them that any such
model must get right, overall and per class. A device runs it in probing, through `Model.predict`, before an auto
model may commit. This module has the format, the check and the choice of inputs; it loads no model and signs
nothing. The set is public: it catches a model that went wrong, not one that was made to pass it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops import limits
from edgeops.artifact.manifest import Manifest, Task
from edgeops.errors import ArtifactError, InputError
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Id

FORMAT = 1

#: Unless a person says otherwise, an auto model may lose this much against the one that is judged now.
MARGIN = 0.05
CLASS_MARGIN = 0.15

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
#: Shares are compared as counts of inputs; this absorbs what a float loses between the two.
_ROUNDING = 1e-9


class _Floors(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest shares that pass."""

    #: Of all inputs.
    overall: _Share
    #: Of each class's inputs, in the order of `labels`; 0 = none.
    per_class: tuple[_Share, ...]


class AcceptanceSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value as it is signed; `make_acceptance` and `decode_acceptance` are the only ways to it."""

    format: int
    model: Id
    columns: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_DATASET_COLUMNS)]
    #: Rows of one input window.
    rows: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=2, max_length=limits.MAX_CLASSES)]
    #: float32, little-endian: (inputs, rows, columns).
    windows: bytes
    #: One byte an input: its place in `labels`.
    classes: Annotated[bytes, msgspec.Meta(min_length=1, max_length=limits.MAX_ACCEPTANCE_INPUTS)]
    floors: _Floors

    def __len__(self) -> int:
        return len(self.classes)

    def inputs(self) -> NDArray[np.float32]:
        """(inputs, rows, columns) of raw readings; NaN = missing."""
        return np.frombuffer(self.windows, "<f4").reshape(len(self), self.rows, len(self.columns)).astype(np.float32)


class Answering(Protocol):
    """A loaded model, as far as it is asked here."""

    manifest: Manifest

    def predict(self, window: NDArray[np.float32]) -> Prediction:
        """Answer one window, float32 (rows, columns) of raw readings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceVerdict:
    """What a model made of a set."""

    accuracy: float
    #: Label -> share of its inputs that were right; classes without inputs are absent.
    per_class: dict[str, float]
    #: Why it failed, in words; empty = it passed.
    shortfalls: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every floor was kept."""
        return not self.shortfalls


def acceptance_path(model: str) -> str:
    """The TUF target that holds the set of a model; no delegation covers it."""
    return f"models/{model}/acceptance"


def make_acceptance(
    manifest: Manifest,
    windows: NDArray[np.float32],
    classes: Sequence[int] | NDArray[np.int64],
    *,
    floor: float,
    class_floors: Sequence[float],
) -> AcceptanceSet:
    """A set for the model that `manifest` describes.

    Args:
        manifest: of any version of the model.
        windows: raw readings (inputs, rows, columns), NaN = missing.
        classes: place in the manifest's labels, one an input.
        floor: smallest share of all inputs that passes.
        class_floors: the same per label; 0 = none.

    Raises:
        ArtifactError: too many or too large inputs, a class that the model has not, or a floor outside 0..1.
    """
    labels = manifest.output.labels
    if not all(0 <= one < min(len(labels), 256) for one in classes):
        raise ArtifactError(f"an acceptance input has a class that {manifest.name} has not; it has {len(labels)}")
    made = AcceptanceSet(
        format=FORMAT,
        model=manifest.name,
        columns=manifest.window.columns,
        rows=manifest.window.rows,
        labels=labels,
        windows=windows.astype("<f4").tobytes(),
        classes=bytes(int(one) for one in classes),
        floors=_Floors(overall=floor, per_class=tuple(class_floors)),
    )
    return decode_acceptance(encode_acceptance(made))


def encode_acceptance(acceptance: AcceptanceSet) -> bytes:
    """MessagePack; the same set gives the same bytes."""
    return msgspec.msgpack.encode(acceptance)


def decode_acceptance(data: bytes) -> AcceptanceSet:
    """Read a set.

    Raises:
        ArtifactError: too large, not MessagePack, or a value that does not fit the others.
    """
    if len(data) > limits.MAX_METADATA_BYTES:
        raise ArtifactError(
            f"an acceptance set of {len(data)} bytes exceeds {limits.MAX_METADATA_BYTES}; take fewer inputs"
        )
    try:
        acceptance = msgspec.msgpack.decode(data, type=AcceptanceSet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"not an acceptance set: {error}") from error
    if acceptance.format != FORMAT:
        raise ArtifactError(
            f"acceptance set of format {acceptance.format}, this version reads {FORMAT}; update EdgeOps"
        )
    expected = 4 * len(acceptance) * acceptance.rows * len(acceptance.columns)
    if len(acceptance.windows) != expected:
        raise ArtifactError(f"the windows of an acceptance set have {len(acceptance.windows)} bytes, not {expected}")
    if max(acceptance.classes) >= len(acceptance.labels):
        raise ArtifactError(f"an acceptance set names class {max(acceptance.classes)} of {len(acceptance.labels)}")
    if len(acceptance.floors.per_class) != len(acceptance.labels):
        raise ArtifactError(
            f"an acceptance set has {len(acceptance.floors.per_class)} class floors for {len(acceptance.labels)} labels"
        )
    return acceptance


def misfit(acceptance: AcceptanceSet, manifest: Manifest) -> str | None:
    """Why this set says nothing about a model of that manifest; None = it does."""
    if manifest.task is not Task.CLASSIFICATION:
        return f"it has classes, the model does {manifest.task}"
    if acceptance.model != manifest.name:
        return f"it is of {acceptance.model}, the model is {manifest.name}"
    if (acceptance.rows, acceptance.columns) != (manifest.window.rows, manifest.window.columns):
        return (
            f"its inputs have {acceptance.rows} x {len(acceptance.columns)} values, or other columns than the model, "
            f"which reads {manifest.window.rows} x {len(manifest.window.columns)}"
        )
    unknown = [label for label in acceptance.labels if label not in manifest.output.labels]
    return f"the model does not know its labels {unknown[:5]}" if unknown else None


def check_acceptance(model: Answering, acceptance: AcceptanceSet) -> AcceptanceVerdict:
    """Let a model answer all inputs; an input that it refuses is wrong.

    Labels are compared by name, so that a model may order its classes as it likes.

    Raises:
        ArtifactError: the set is of another model, or of other inputs.
    """
    why = misfit(acceptance, model.manifest)
    if why is not None:
        raise ArtifactError(f"the acceptance set does not fit the model: {why}")
    right = np.array([_is_right(model, window, label) for window, label in _labelled(acceptance)])
    classes = np.frombuffer(acceptance.classes, np.uint8)
    shares = {
        label: float(right[classes == place].mean())
        for place, label in enumerate(acceptance.labels)
        if (classes == place).any()
    }
    return AcceptanceVerdict(
        accuracy=float(right.mean()), per_class=shares, shortfalls=_shortfalls(acceptance, float(right.mean()), shares)
    )


def propose(
    model: Answering,
    windows: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    floor: float | None = None,
    class_floor: float | None = None,
) -> tuple[AcceptanceSet, AcceptanceVerdict]:
    """A set from rows that `model` never saw, with floors a little below what it reaches, and what it reaches.

    Args:
        model: the one that is trusted now.
        windows: raw readings (inputs, rows, columns).
        classes: place in the model's labels, one an input.
        floor: smallest share of all inputs; None = MARGIN below the model's.
        class_floor: smallest share of every class's inputs; None = CLASS_MARGIN below the model's own of each.

    Raises:
        ArtifactError: no input fits into a set, or a floor that the model itself does not reach.
    """
    chosen = choose_inputs(classes, inputs_that_fit(model.manifest))
    labels = model.manifest.output.labels
    without = make_acceptance(
        model.manifest, windows[chosen], classes[chosen], floor=0.0, class_floors=(0.0,) * len(labels)
    )
    reached = check_acceptance(model, without)
    floors = _Floors(
        overall=max(0.0, reached.accuracy - MARGIN) if floor is None else floor,
        per_class=tuple(_class_floor(reached.per_class.get(label), class_floor) for label in labels),
    )
    proposed = msgspec.structs.replace(without, floors=floors)
    shortfalls = _shortfalls(proposed, reached.accuracy, reached.per_class)
    if shortfalls:
        raise ArtifactError(f"the model of today would fail: {'; '.join(shortfalls)}; choose lower floors")
    return decode_acceptance(encode_acceptance(proposed)), reached


def choose_inputs(classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Places of up to `count` rows, as evenly over the classes as they allow, spread over the rows of each.

    A class with fewer rows than its share leaves the rest to the others.
    """
    rows = sorted((np.flatnonzero(classes == one) for one in np.unique(classes)), key=len)
    chosen: list[NDArray[np.int64]] = []
    left = min(count, len(classes))
    for place, mine in enumerate(rows):
        share = min(len(mine), left // (len(rows) - place))
        chosen.append(mine[np.linspace(0, len(mine) - 1, share).round().astype(np.int64)])
        left -= share
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def inputs_that_fit(manifest: Manifest) -> int:
    """How many inputs of this model one acceptance set can hold."""
    size_bytes = 4 * manifest.window.rows * len(manifest.window.columns)
    head_bytes = len(msgspec.msgpack.encode((manifest.window.columns, manifest.output.labels))) + 4096
    return max(0, min(limits.MAX_ACCEPTANCE_INPUTS, (limits.MAX_METADATA_BYTES - head_bytes) // (size_bytes + 1)))


def _class_floor(reached: float | None, wanted: float | None) -> float:
    if reached is None:
        return 0.0
    return max(0.0, reached - CLASS_MARGIN) if wanted is None else wanted


def _labelled(acceptance: AcceptanceSet) -> Iterator[tuple[NDArray[np.float32], str]]:
    return zip(acceptance.inputs(), (acceptance.labels[one] for one in acceptance.classes), strict=True)


def _is_right(model: Answering, window: NDArray[np.float32], label: str) -> bool:
    try:
        return model.manifest.output.labels[int(model.predict(window).answer)] == label
    except InputError:
        return False


def _shortfalls(acceptance: AcceptanceSet, accuracy: float, shares: dict[str, float]) -> tuple[str, ...]:
    floors = acceptance.floors
    found = []
    if accuracy + _ROUNDING < floors.overall:
        found.append(f"{accuracy:.1%} of {len(acceptance)} inputs right, {floors.overall:.1%} asked for")
    for label, floor in zip(acceptance.labels, floors.per_class, strict=True):
        if label in shares and shares[label] + _ROUNDING < floor:
            found.append(f"{shares[label]:.1%} of class {label} right, {floor:.1%} asked for")
    return tuple(found)
