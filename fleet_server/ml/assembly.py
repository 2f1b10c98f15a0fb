"""Puts one variant together: judges the file, puts in what was learnt from judging it, describes the result.

Inside an artifact is only what a rebuild repeats. Judgements, reference profile and golden vectors all go through
`Model.predict` of the very file that ships. Nothing is trained, stored or published here.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import (
    FORMAT,
    Channel,
    ChannelKind,
    InputWindow,
    Lineage,
    Manifest,
    Output,
    Promotion,
    Requirements,
    Task,
    Variant,
    encode_value,
)
from edgeops.artifact.package import describe, package
from edgeops.data.splits import Split
from edgeops.digest import digest_bytes
from edgeops.learning.promotion import Candidate, LeftOut, Measured, Recent, promote
from edgeops.model.golden import make_golden
from edgeops.model.model import Model
from edgeops.sketch.calibration import Calibration
from edgeops.sketch.caveats import reference_warnings
from edgeops.sketch.healed import healed_reference
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.reference import ReferenceProfile, encode_reference
from edgeops.sketch.window import Sketch
from fleet_server.datasets.snapshot import IMPORTED, Rows, SnapshotFile
from fleet_server.ml.card import write_card
from fleet_server.ml.conversion import Converted
from fleet_server.ml.frames import Build, BuiltVariant
from fleet_server.ml.judging import Judgement, channels_of, judge
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.training import Learned

_GOLDEN_ROWS = 16
#: Rows of the reference profile; more would not move a quantile that anybody could tell. Rows in time order are
#: taken in pieces, whose consecutive rows tell the autocorrelation.
_REFERENCE_ROWS = 20_000
_REFERENCE_PIECES = 20
_NO_WINDOWS = (
    "no telemetry windows or nominated samples show what the model is healed on: its reference is made of the rows it "
    "learnt from, and what has drifted will be found again"
)
#: Channels that the inputs alone decide have none of these kinds.
_OF_THE_MODEL = (ChannelKind.PROJECTION, ChannelKind.ANSWER, ChannelKind.CONFIDENCE, ChannelKind.MARGIN)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Healed:
    """What a healed model is compared with, and its reference made of."""

    #: The model that it shall replace, by variant.
    champions: Mapping[Variant, Model]
    #: Rows bought since the champion, and answers to them by fold models that did not learn from them.
    fresh: Rows
    unseen: Judgement | None
    left_out: tuple[LeftOut, ...]
    #: The inputs that it is healed on, as devices saw them; None = no windows.
    inputs: Sketch | None
    #: Nominated rows (n, columns), and how many rows each stands for (n).
    nominated: NDArray[np.float32]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What all variants of one training share."""

    task: Build
    snapshot: SnapshotFile
    plan: Plan
    learned: Learned
    channels: tuple[Channel, ...]
    #: Preprocessed rows for int8.
    calibration: NDArray[np.float32]
    libraries: dict[str, str]
    #: None = a first training.
    healed: Healed | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assembled:
    """One variant, written into the task's destination."""

    built: BuiltVariant
    judgement: Judgement
    #: What a person should know of its reference, in words.
    warnings: tuple[str, ...]


def assemble(trained: Trained, variant: Variant, converted: Converted, *, float32: Judgement | None) -> Assembled:
    """Make an artifact of a converted network.

    `float32` is how its unquantized sibling was judged; None = it is that.
    """
    task, schema = trained.task, trained.snapshot.schema
    draft = _manifest(trained, variant, converted, metrics={})
    before = _resident_bytes()
    model = load(package(converted.data, draft, reference=b"", golden=b"", card=""))
    judgement = judge(model, trained.snapshot.only(Split.EVALUATION), classes=len(schema.classes))
    memory = max(_resident_bytes() - before, len(converted.data))
    manifest = msgspec.structs.replace(draft, metrics=judgement.answers.figures(schema.classes))
    reference, notes = _reference(model, trained, variant, judgement)
    data = package(
        converted.data,
        manifest,
        reference=encode_reference(reference),
        golden=make_golden(model, _golden_windows(trained.snapshot.only(Split.TRAIN))),
        card=write_card(manifest, schema, judgement.answers, trained.learned),
    )
    measured = Measured(size_bytes=len(data), memory_bytes=memory, p95_latency_ms=judgement.percentile_ms(95))
    promotion = _promotion(
        model, trained, variant, judgement=judgement, float32=float32 or judgement, measured=measured
    )
    model.close()
    descriptor = describe(
        data,
        manifest,
        run=task.run,
        built_at=task.built_at,
        host=task.host,
        latency_p50_ms=judgement.percentile_ms(50),
        latency_p95_ms=measured.p95_latency_ms,
        memory_bytes=memory,
        promotion=promotion,
    )
    file = Path(task.destination) / f"{variant}.tflite"
    file.write_bytes(data)
    built = BuiltVariant(
        variant=variant,
        file=str(file),
        tflite_bytes=len(converted.data),
        descriptor=encode_value(descriptor),
        metrics=manifest.metrics,
    )
    return Assembled(built=built, judgement=judgement, warnings=(*notes, *reference_warnings(reference)))


def bare_model(trained: Trained, variant: Variant, converted: Converted) -> Model:
    """A converted network that can answer, and nothing more: what a fold is judged with."""
    manifest = _manifest(trained, variant, converted, metrics={})
    return load(package(converted.data, manifest, reference=b"", golden=b"", card=""))


def load(data: bytes) -> Model:
    """The runtime maps a file; it may be gone once it is open."""
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        return Model.load(Path(file.name))


def _manifest(trained: Trained, variant: Variant, converted: Converted, *, metrics: dict[str, float]) -> Manifest:
    task, plan, schema = trained.task, trained.plan, trained.snapshot.schema
    return Manifest(
        format=FORMAT,
        name=task.model,
        version=str(task.version),
        variant=variant,
        task=Task.CLASSIFICATION,
        inputs=converted.inputs,
        outputs=converted.outputs,
        window=InputWindow(columns=schema.columns),
        preprocess=plan.preprocess,
        missing=plan.missing,
        channels=trained.channels,
        output=Output(answer=converted.answer, embedding=converted.embedding, labels=schema.classes),
        budgets=plan.budgets,
        requirements=Requirements(ops=converted.ops),
        metrics=metrics,
        lineage=Lineage(
            snapshot=task.snapshot_digest,
            recipe=task.recipe,
            recipe_digest=plan.digest(),
            seed=task.seed,
            commit=task.commit,
            libraries=trained.libraries,
            calibration=digest_bytes(trained.calibration.tobytes()) if variant is Variant.INT8 else None,
        ),
    )


# -- the reference ----------------------------------------------------------------------


def _reference(
    model: Model, trained: Trained, variant: Variant, judgement: Judgement
) -> tuple[ReferenceProfile, tuple[str, ...]]:
    """What is normal for this variant, and what to know about it."""
    healed, names = trained.healed, [channel.name for channel in trained.channels]
    discrete = [channel.name for channel in trained.channels if channel.kind is ChannelKind.ANSWER]
    calibration = _worth_of_confidence(trained, judgement)
    notes: tuple[str, ...] = ()
    if healed is not None:
        values, is_answered = channels_of(model, healed.nominated)
        previous = healed.champions[variant].reference
        if previous is not None and healed.inputs is not None and len(values):
            profile = healed_reference(
                previous,
                healed.inputs,
                names=names,
                is_input=[channel.kind not in _OF_THE_MODEL for channel in trained.channels],
                values=values,
                weights=healed.weights[is_answered],
                discrete=discrete,
                calibration=calibration,
            )
            return profile, ()
        notes = (_NO_WINDOWS,)
    profile = build_reference(
        channels_of(model, _reference_rows(trained.snapshot))[0],
        names,
        discrete=discrete,
        ordered=trained.snapshot.schema.ordered,
        answer=discrete[0] if discrete else None,
        calibration=calibration,
    )
    return profile, notes


def _worth_of_confidence(trained: Trained, judgement: Judgement) -> Calibration | None:
    """Answers to rows that were not learnt from: the evaluation set, and of a healed model the bought ones by folds."""
    channel = next((one.name for one in trained.channels if one.kind is ChannelKind.CONFIDENCE), None)
    if channel is None:
        return None
    judged = [judgement]
    if trained.healed is not None and trained.healed.unseen is not None:
        judged.append(trained.healed.unseen)
    return Calibration(
        channel=channel,
        confidence=np.concatenate([one.confidence for one in judged]),
        correct=np.concatenate([one.answers.right for one in judged]),
    )


def _reference_rows(snapshot: SnapshotFile) -> NDArray[np.float32]:
    """Rows that were learnt from; in time order all imported ones, for the others lie between them."""
    if not snapshot.schema.ordered:
        rows = snapshot.only(Split.TRAIN).values
        return rows[np.linspace(0, len(rows) - 1, num=min(_REFERENCE_ROWS, len(rows)), dtype=np.int64)]
    rows = snapshot.rows.only(snapshot.rows.origins == IMPORTED).values
    if len(rows) <= _REFERENCE_ROWS:
        return rows
    length = _REFERENCE_ROWS // _REFERENCE_PIECES
    starts = np.linspace(0, len(rows) - length, num=_REFERENCE_PIECES, dtype=np.int64)
    return np.concatenate([rows[start : start + length] for start in starts])


# -- the promotion gate -----------------------------------------------------------------


def _promotion(
    model: Model,
    trained: Trained,
    variant: Variant,
    *,
    judgement: Judgement,
    float32: Judgement,
    measured: Measured,
) -> Promotion:
    healed, classes = trained.healed, trained.snapshot.schema.classes
    champion = None
    recent = None
    if healed is not None:
        incumbent = healed.champions[variant]
        champion = judge(incumbent, trained.snapshot.only(Split.EVALUATION), classes=len(classes)).answers
        if healed.unseen is not None:
            recent = Recent(
                champion=judge(incumbent, healed.fresh, classes=len(classes)).answers,
                unseen=healed.unseen.answers,
                file=judge(model, healed.fresh, classes=len(classes)).answers,
            )
    candidate = Candidate(
        classes=classes,
        evaluation=judgement.answers,
        float32=float32.answers,
        champion=champion,
        recent=recent,
        left_out=() if healed is None else healed.left_out,
        measured=measured,
        budgets=trained.plan.budgets,
    )
    return promote(candidate)


def _golden_windows(train: Rows) -> list[NDArray[np.float32]]:
    """Whole rows, spread over the training rows."""
    whole = train.values[~np.isnan(train.values).any(axis=1)]
    places = np.linspace(0, len(whole) - 1, num=min(_GOLDEN_ROWS, len(whole)), dtype=np.int64)
    return [row[np.newaxis] for row in whole[places]]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
