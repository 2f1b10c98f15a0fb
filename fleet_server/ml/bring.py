"""From a file that a person brings to artifacts: opened, asked for first answers, judged on the rows of a snapshot.

A `.tflite` stays as it is and is one variant; a `.keras` or SavedModel is converted as trained networks are. The same
file, instructions, snapshot and libraries give the same digest. Nothing is stored or published here.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Budgets, Task, Variant
from edgeops.artifact.operators import operators
from edgeops.data.schema import Schema
from edgeops.data.splits import Split
from edgeops.errors import ArtifactError, DatasetError
from edgeops.model.brought import (
    Instructions,
    Scores,
    answer_place,
    check_embedding,
    check_instructions,
    check_types,
    concrete_shape,
    scores_of,
    variant_of,
)
from edgeops.model.runtime import load_interpreter, tensors_of, types_of
from fleet_server.datasets.snapshot import SnapshotFile, read_snapshot
from fleet_server.ml.alarm_examiner import AlarmExaminer
from fleet_server.ml.assembly import assemble, assemble_all, bare_model
from fleet_server.ml.brought_examiner import BroughtExaminer
from fleet_server.ml.brought_file import BroughtFile, Kind, open_brought
from fleet_server.ml.brought_network import BroughtNetwork, Ending
from fleet_server.ml.brought_rows import BroughtRows, labels_for, rows_for
from fleet_server.ml.champion import load_champions
from fleet_server.ml.class_examiner import ClassExaminer
from fleet_server.ml.conversion import Converted, convert
from fleet_server.ml.examiner import Examiner
from fleet_server.ml.first_answers import first_answers
from fleet_server.ml.frames import Bring, Built
from fleet_server.ml.framework import library_versions, load_tensorflow
from fleet_server.ml.judging import judge_alarms
from fleet_server.ml.number_examiner import NumberExaminer
from fleet_server.ml.recipes.plan import Plan
from fleet_server.ml.recipes.rounding import rounded
from fleet_server.ml.report import Report
from fleet_server.ml.trained import Trained

#: The share of normal validation windows whose scores raise no alarm, where a person gives no threshold.
_QUANTILE = 0.99
_NUMBERS = {Task.REGRESSION: "number", Task.ANOMALY: "score"}
#: Nobody said for what devices it was made: a tenth of a second, and room for what a runtime makes of a file.
_BUDGET_MS, _LEAST_MEMORY_BYTES, _MEMORY_TIMES_FILE = 100.0, 32 * 1024 * 1024, 4


def bring(task: Bring, report: Report) -> Built:
    """Write the artifacts of a brought model into `task.destination`.

    Raises:
        ArtifactError: the file is no model that a device could run, or does not fit the snapshot.
        DatasetError, ConfigError: the snapshot or an instruction does not fit.
    """
    report("reading rows", 0.0)
    snapshot = read_snapshot(Path(task.snapshot))
    check_instructions(task.instructions, len(snapshot.schema.columns))
    labels = labels_for(task.instructions, snapshot.schema)
    report("opening the file", 0.05)
    file = open_brought(Path(task.source), task.file_name, folder=Path(task.destination))
    if file.kind is Kind.TFLITE:
        return _finished(task, file, snapshot, labels, report)
    return _converted(task, file, snapshot, labels, report)


def _finished(task: Bring, file: BroughtFile, snapshot: SnapshotFile, labels: tuple[str, ...], report: Report) -> Built:
    """Of a `.tflite`: the one variant that it is."""
    data, said, schema = file.path.read_bytes(), task.instructions, snapshot.schema
    ops = operators(data)
    _refuse_custom(ops)
    try:
        interpreter = load_interpreter(file.path)
    except ArtifactError as error:
        raise ArtifactError(f"{task.file_name} cannot be opened, it may be truncated: {error.__cause__}") from error
    inputs, outputs = tensors_of(interpreter)
    if len(inputs) != 1:
        told = ", ".join(f"{one.name} {one.shape}" for one in inputs)
        raise ArtifactError(f"the model has {len(inputs)} inputs ({told}); models with one input are supported")
    answer = _answer([one.shape for one in outputs], labels, said, schema, pairs=False)
    check_types(inputs[0], outputs[answer], *(() if said.embedding is None else (outputs[said.embedding],)))
    variant = variant_of(inputs[0], outputs[answer], types_of(interpreter))
    converted = Converted(data=data, inputs=inputs, outputs=outputs, answer=answer, embedding=said.embedding, ops=ops)
    rows = rows_for(snapshot, inputs[0].shape, labels, said)
    report("asking for first answers", 0.1)
    first = first_answers(converted, rows, patience_s=task.patience_s)
    if schema.task is Task.CLASSIFICATION:
        _refuse_scores(first, step=outputs[answer].scale)
    trained = _trained(task, rows, converted, calibration=np.empty(0, np.float32))
    report(f"judging {variant}", 0.3)
    assembled = assemble(trained, _examiner(trained, is_alone=True), variant, converted, float32=None)
    words = (*file.notes, *rows.words, *rows.windows.words[1:], *assembled.warnings)
    return Built(variants=(assembled.built,), warnings=tuple(dict.fromkeys(words)))


def _converted(
    task: Bring, file: BroughtFile, snapshot: SnapshotFile, labels: tuple[str, ...], report: Report
) -> Built:
    """Of a network: the variants that were asked for, judged beside float32."""
    report("loading TensorFlow", 0.1)
    tf = load_tensorflow()
    report("opening the network", 0.2)
    schema, said = snapshot.schema, task.instructions
    network = BroughtNetwork(tf, file)
    shape = concrete_shape(network.input_shape, schema.columns, schema.shape, said)
    rows = rows_for(snapshot, shape, labels, said)
    answer = _answer(network.output_shapes(shape), labels, said, schema, pairs=True)
    representative = rows.representative(shape, seed=task.seed)

    def ended(ending: Ending) -> Any:
        return network.build(shape, answer=answer, embedding=said.embedding, ending=ending)

    report("converting it for first answers", 0.3)
    plain = convert(tf, ended(Ending.NONE), Variant.FLOAT32, calibration=representative.inputs)
    _refuse_custom(plain.ops)
    report("asking for first answers", 0.5)
    first = first_answers(plain, rows, patience_s=task.patience_s)
    ending = _ending(first) if schema.task is Task.CLASSIFICATION else Ending.NONE
    trained = replace(
        _trained(task, rows, plain, calibration=representative.inputs),
        calibration_words=(representative.words,),
        calibration_warnings=representative.warnings,
    )
    examiner = _examiner(trained, is_alone=False)
    built = assemble_all(trained, examiner, tf, lambda: ended(ending), report=report)
    words = (*rows.words, *_told(ending), *built.warnings)
    return msgspec.structs.replace(built, warnings=words)


def _refuse_custom(ops: dict[str, int]) -> None:
    """An interpreter would refuse them, too, and not say why."""
    custom = [name.removeprefix("CUSTOM:") for name in ops if name.startswith("CUSTOM:")]
    if custom:
        raise ArtifactError(
            f"the model has operations that devices do not have: {', '.join(custom)}; convert it with "
            "TFLITE_BUILTINS alone (those that begin with Flex are TensorFlow's own), or build it of others"
        )


def _answer(
    shapes: Sequence[Sequence[int]], labels: tuple[str, ...], said: Instructions, schema: Schema, *, pairs: bool
) -> int:
    """Its place; `pairs` = of two classes one probability will do."""
    if schema.task is not Task.CLASSIFICATION:
        place = answer_place(shapes, {1}, said.answer, what=f"one {_NUMBERS[schema.task]}")
    else:
        sizes = {len(labels), 1} if pairs and len(labels) == 2 and said.embedding is None else {len(labels)}
        place = answer_place(shapes, sizes, said.answer, what=f"one value for each of {len(labels)} labels")
    check_embedding(shapes, said.embedding, answer=place)
    return place


def _refuse_scores(first: NDArray[np.float32], *, step: float) -> None:
    """A finished file gets nothing put behind it."""
    scores = scores_of(first, step=step)
    if scores is not Scores.PROBABILITIES:
        raise ArtifactError(
            f"the answers are no probabilities: they sum to {first.sum(axis=1).min():.3g} to "
            f"{first.sum(axis=1).max():.3g}, and one was expected; put a softmax behind the model and convert it "
            "again, or bring the .keras, which gets one here"
        )


def _ending(first: NDArray[np.float32]) -> Ending:
    """What makes probabilities of the answers of a network (n, values)."""
    scores = scores_of(first, step=0.0)
    if first.shape[1] == 1:
        return Ending.LOGISTIC_PAIR if scores is Scores.LOGITS else Ending.PAIR
    if scores is Scores.SEVERAL:
        raise ArtifactError(
            f"the answers lie between 0 and 1 and sum to {first.sum(axis=1).min():.3g} to "
            f"{first.sum(axis=1).max():.3g}: classes that do not exclude each other are not supported; end the model "
            "in a softmax"
        )
    return Ending.SOFTMAX if scores is Scores.LOGITS else Ending.NONE


def _told(ending: Ending) -> tuple[str, ...]:
    match ending:
        case Ending.NONE:
            return ()
        case Ending.SOFTMAX:
            return ("the answers were no probabilities; a softmax was put behind them",)
        case Ending.PAIR:
            return ("the answer was one probability; that of the first label was put beside it",)
        case Ending.LOGISTIC_PAIR:
            return ("the answer was one number; it became the probability of the second label (logistic function)",)
        case _:
            assert_never(ending)


def _trained(task: Bring, rows: BroughtRows, converted: Converted, *, calibration: NDArray[np.float32]) -> Trained:
    """What all variants share; of a detector with its threshold."""
    window, schema = rows.windows.window, rows.windows.snapshot.schema
    plan = Plan(
        recipe=task.recipe,
        preprocess=rows.preprocess,
        missing=rows.missing,
        input_shape=converted.inputs[0].shape[1:],
        is_image=len(schema.shape) > 1,
        budgets=Budgets(
            p95_latency_ms=_BUDGET_MS,
            memory_bytes=max(_LEAST_MEMORY_BYTES, _MEMORY_TIMES_FILE * len(converted.data)),
        ),
        epochs=0,
        batch_rows=0,
        learning_rate=0.0,
        patience=0,
        window=None if window.rows == window.stride == 1 else window,
        brought=task.source_digest,
    )
    trained = Trained(
        task=task,
        windows=rows.windows,
        plan=plan,
        learned=None,
        channels=rows.channels(has_embedding=converted.embedding is not None),
        calibration=calibration,
        libraries=library_versions(),
    )
    if schema.task is not Task.ANOMALY:
        return trained
    said = task.instructions.threshold
    return replace(trained, threshold=_threshold(trained, converted) if said is None else said)


def _threshold(trained: Trained, converted: Converted) -> float:
    """The score of nearly all validation windows that are normal or unlabelled."""
    windows = trained.windows
    model = bare_model(trained, Variant.FLOAT32, converted)
    normal = windows.at(windows.normal(windows.of(Split.VALIDATION)))
    scores = judge_alarms(model, normal, threshold=math.inf).answers.scores
    model.close()
    known = scores[np.isfinite(scores)]
    if not len(known):
        raise DatasetError(
            "no validation row that is normal or unlabelled has a score to set the threshold by; say one"
        )
    return rounded(float(np.quantile(known, _QUANTILE)))


def _examiner(trained: Trained, *, is_alone: bool) -> Examiner[Any]:
    champions = load_champions(trained.task, trained.windows)
    match trained.schema.task:
        case Task.CLASSIFICATION:
            return BroughtExaminer(ClassExaminer(trained, champions, None), is_alone=is_alone)
        case Task.REGRESSION:
            return BroughtExaminer(NumberExaminer(trained, champions), is_alone=is_alone)
        case Task.ANOMALY:
            return BroughtExaminer(AlarmExaminer(trained, champions), is_alone=is_alone)
        case _:
            assert_never(trained.schema.task)
