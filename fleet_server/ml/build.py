"""From a snapshot to artifacts: plan, train, convert, judge, describe; one artifact per variant.

Inside an artifact is only what a rebuild repeats, so the same snapshot, recipe, seed and libraries give
the same digest. Judging, reference profile and golden vectors all go through `Model.predict` of the very
file that ships. Nothing is stored or published here.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

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
    Requirements,
    Task,
    Variant,
    encode_value,
)
from edgeops.artifact.package import describe, package
from edgeops.digest import digest_bytes
from edgeops.errors import InputError
from edgeops.model.golden import make_golden
from edgeops.model.model import Model
from edgeops.model.preprocess import transform_rows
from edgeops.sketch.reference import build_reference, encode_reference
from fleet_server.datasets.snapshot import Rows, Schema, read_snapshot
from fleet_server.datasets.splits import Split
from fleet_server.ml.card import write_card
from fleet_server.ml.conversion import Converted, convert
from fleet_server.ml.frames import Build, Built, BuiltVariant
from fleet_server.ml.framework import load_tensorflow
from fleet_server.ml.judging import Judgement, judge
from fleet_server.ml.promotion import promote
from fleet_server.ml.recipes.catalog import Recipe, find_recipe
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.training import Labelled, Learned, fit
from fleet_server.ml.watching import image_channels, table_channels

#: Tells a step's name and the share done.
Report = Callable[[str, float], None]

_CALIBRATION_ROWS = 300
_GOLDEN_ROWS = 16
#: Rows of the reference profile; more would not move a quantile that anybody could tell.
_REFERENCE_ROWS = 20_000
_LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """What all variants share."""

    task: Build
    schema: Schema
    train: Rows
    evaluation: Rows
    plan: Plan
    learned: Learned
    channels: tuple[Channel, ...]
    #: Preprocessed rows for int8.
    calibration: NDArray[np.float32]
    libraries: dict[str, str]


def build(task: Build, report: Report) -> Built:
    """Train and write the artifacts of all variants into `task.destination`.

    Raises:
        InputError: the dataset or an option does not fit the recipe.
    """
    report("reading rows", 0.0)
    snapshot = read_snapshot(Path(task.snapshot))
    recipe = find_recipe(task.recipe)
    train, validation = snapshot.only(Split.TRAIN), snapshot.only(Split.VALIDATION)
    plan = recipe.plan(snapshot.schema, train.values, task.options)
    if task.epochs is not None:
        plan = replace(plan, epochs=task.epochs)
    report("loading TensorFlow", 0.05)
    tf = load_tensorflow()
    report("training", 0.15)
    ready = _prepared(train, plan)
    network, learned = _train(
        tf, recipe, plan, task, train=ready, validation=_prepared(validation, plan), snapshot=snapshot.schema,
        report=lambda share: report("training", 0.15 + 0.5 * share),
    )  # fmt: skip
    trained = _Trained(
        task=task,
        schema=snapshot.schema,
        train=train,
        evaluation=snapshot.only(Split.EVALUATION),
        plan=plan,
        learned=learned,
        channels=image_channels()
        if plan.is_image
        else table_channels(snapshot.schema.columns, ready.inputs, train.classes),
        calibration=_calibration(ready.inputs, task.seed),
        libraries=_libraries(),
    )
    variants: list[BuiltVariant] = []
    float32: Judgement | None = None
    for place, variant in enumerate(Variant):
        share = 0.65 + 0.35 * place / len(Variant)
        report(f"converting {variant}", share)
        converted = convert(tf, network, variant, calibration=trained.calibration)
        report(f"judging {variant}", share + 0.1)
        built, judgement = _finish(trained, variant, converted, float32)
        float32 = float32 or judgement
        variants.append(built)
    return Built(variants=tuple(variants), libraries=trained.libraries)


def _prepared(rows: Rows, plan: Plan) -> Labelled:
    inputs = transform_rows(rows.values, plan.preprocess, missing=plan.missing)
    return Labelled(inputs=inputs.reshape(len(rows), *plan.input_shape), classes=rows.classes)


def _train(
    tf: Any,
    recipe: Recipe,
    plan: Plan,
    task: Build,
    *,
    train: Labelled,
    validation: Labelled,
    snapshot: Schema,
    report: Callable[[float], None],
) -> tuple[Any, Learned]:
    """A trained network whose batch size is 1, as converting wants it."""
    tf.keras.backend.clear_session()
    classes = len(snapshot.classes)
    network = recipe.network(tf, plan, classes, task.seed, None)
    learned = fit(tf, network, plan, train=train, validation=validation, seed=task.seed, report=report)
    single = recipe.network(tf, plan, classes, task.seed, 1)
    single.set_weights(network.get_weights())
    return single, learned


def _finish(
    trained: _Trained, variant: Variant, converted: Converted, float32: Judgement | None
) -> tuple[BuiltVariant, Judgement]:
    """Judge the file, put in what was learnt from judging it, and describe the result."""
    task, schema = trained.task, trained.schema
    draft = _manifest(trained, variant, converted, metrics={})
    before = _resident_bytes()
    model = _load(package(converted.data, draft, reference=b"", golden=b"", card=""))
    judgement = judge(model, trained.evaluation, classes=len(schema.classes))
    memory = max(_resident_bytes() - before, len(converted.data))
    manifest = msgspec.structs.replace(draft, metrics=judgement.metrics(schema.classes))
    data = package(
        converted.data,
        manifest,
        reference=_reference(model, trained),
        golden=make_golden(model, _golden_windows(trained)),
        card=write_card(manifest, schema, judgement, trained.learned),
    )
    model.close()
    promotion = promote(judgement, float32=float32 or judgement)
    descriptor = describe(
        data,
        manifest,
        run=task.run,
        built_at=task.built_at,
        host=task.host,
        latency_p50_ms=round(float(np.percentile(judgement.latencies_ms, 50)), 4),
        latency_p95_ms=round(float(np.percentile(judgement.latencies_ms, 95)), 4),
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
    return built, judgement


def _manifest(trained: _Trained, variant: Variant, converted: Converted, *, metrics: dict[str, float]) -> Manifest:
    task, plan = trained.task, trained.plan
    return Manifest(
        format=FORMAT,
        name=task.model,
        version=str(task.version),
        variant=variant,
        task=Task.CLASSIFICATION,
        inputs=converted.inputs,
        outputs=converted.outputs,
        window=InputWindow(columns=trained.schema.columns),
        preprocess=plan.preprocess,
        missing=plan.missing,
        channels=trained.channels,
        output=Output(
            answer=converted.answer,
            embedding=converted.embedding,
            labels=trained.schema.classes,
        ),
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


def _load(data: bytes) -> Model:
    """The runtime maps a file; it may be gone once it is open."""
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        return Model.load(Path(file.name))


def _reference(model: Model, trained: _Trained) -> bytes:
    """Channel values of training rows in their file's order, as this variant computes them."""
    values = []
    for row in trained.train.values[:_REFERENCE_ROWS]:
        try:
            values.append(model.predict(row[np.newaxis]).channels)
        except InputError:  # a row that a device would refuse is no part of what is normal
            continue
    names = [channel.name for channel in trained.channels]
    discrete = [channel.name for channel in trained.channels if channel.kind is ChannelKind.ANSWER]
    return encode_reference(build_reference(np.array(values, dtype=np.float32), names, discrete=discrete))


def _golden_windows(trained: _Trained) -> list[NDArray[np.float32]]:
    """Whole rows, spread over the training rows."""
    whole = trained.train.values[~np.isnan(trained.train.values).any(axis=1)]
    places = np.linspace(0, len(whole) - 1, num=min(_GOLDEN_ROWS, len(whole)), dtype=np.int64)
    return [row[np.newaxis] for row in whole[places]]


def _calibration(inputs: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    chosen = np.random.default_rng(seed).permutation(len(inputs))[:_CALIBRATION_ROWS]
    return np.ascontiguousarray(inputs[chosen])


def _libraries() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
