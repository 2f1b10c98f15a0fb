"""One artifact's answers to a file, as `predict` and `batch` print them.

The way to an answer is the one of the loop: a source, a window buffer, `Model.predict`.
"""

import csv
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, assert_never

from device_agent.sources.recordings import require_rate
from device_agent.sources.replay import ReplaySource
from edgeops.artifact.manifest import Manifest, Task
from edgeops.errors import DatasetError, InputError
from edgeops.learning.anomaly import ANOMALY
from edgeops.model.model import Model
from edgeops.model.resampling import buffer_of

_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer in words."""

    id: str
    answer: float
    #: The class's name, or the value as text.
    label: str
    confidence: float
    #: Whether a score is an alarm; None = it is none.
    alarm: bool | None = None

    def document(self) -> dict[str, Any]:
        """As JSON says it: `alarm` of a score only."""
        alarm = {} if self.alarm is None else {"alarm": self.alarm}
        return {"id": self.id, "answer": self.answer, "label": self.label, "confidence": self.confidence, **alarm}


@dataclass(slots=True)
class Summary:
    """What a whole file came to."""

    rows: int = 0
    errors: int = 0
    mix: Counter[str] = field(default_factory=Counter)
    latencies_ns: list[int] = field(default_factory=list)
    #: Of the rows that have a label.
    labelled: int = 0
    correct: int = 0
    absolute_error: float = 0.0
    alarms: int = 0
    #: Of the labelled rows: anomalous ones, those of them that were alarms, and alarms that were false.
    anomalies: int = 0
    hits: int = 0
    false_alarms: int = 0
    last_error: str = ""


def answers(model: Model, path: Path, summary: Summary) -> Iterator[Answer]:
    """The answers for a file's rows in order; inputs that end in an error are counted in `summary`.

    Raises:
        DatasetError: the file cannot be replayed to this model.
    """
    manifest = model.manifest
    source = ReplaySource(path)
    source.select(manifest.window.measured, manifest.window)
    require_rate(path, manifest.window)
    push, clock = buffer_of(manifest.window).push, model.clock
    while (rows := source.read(_CHUNK_ROWS)) is not None:
        times = rows.at_ns if rows.at_ns is not None else repeat(None, len(rows.ids))
        moments = rows.moments_ns if rows.moments_ns is not None else repeat(None, len(rows.ids))
        for row, row_id, at_ns, moment_ns in zip(rows.values, rows.ids, times, moments, strict=True):
            window = push(row if clock is None else clock.beside(row, moment_ns), at_ns)
            if window is None:
                continue
            started_ns = time.perf_counter_ns()
            try:
                prediction = model.predict(window)
            except InputError as error:
                summary.errors += 1
                summary.last_error = f"input {row_id}: {error}"
                continue
            spent_ns = time.perf_counter_ns() - started_ns
            label = label_of(manifest, prediction.answer)
            summary.rows += 1
            summary.mix[label] += 1
            summary.latencies_ns.append(spent_ns)
            summary.alarms += prediction.alarm is True
            yield Answer(row_id, prediction.answer, label, prediction.confidence, prediction.alarm)


def label_of(manifest: Manifest, answer: float) -> str:
    """A class index by name; a value with its units."""
    if manifest.task is Task.CLASSIFICATION:
        return manifest.output.labels[int(answer)]
    return f"{answer:g} {manifest.output.units}".rstrip()


def compare(summary: Summary, answer: Answer, labels: Mapping[str, str], *, task: Task) -> None:
    """Hold one answer against its label, if there is one."""
    label = labels.get(answer.id)
    if label is None:
        return
    summary.labelled += 1
    match task:
        case Task.CLASSIFICATION:
            summary.correct += label in {answer.label, str(int(answer.answer))}
        case Task.REGRESSION:
            summary.absolute_error += abs(answer.answer - _value(label, answer.id))
        case Task.ANOMALY:
            is_anomaly = _value(label, answer.id) == ANOMALY
            summary.anomalies += is_anomaly
            summary.hits += is_anomaly and answer.alarm is True
            summary.false_alarms += not is_anomaly and answer.alarm is True
        case _:
            assert_never(task)


def read_labels(path: Path) -> dict[str, str]:
    """A CSV with the columns `id` and `label`.

    Raises:
        DatasetError: unreadable, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            if not {"id", "label"} <= set(lines.fieldnames or ()):
                raise DatasetError(f"{path} has the columns {lines.fieldnames}; expected `id` and `label`")
            return {line["id"]: line["label"] for line in lines}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot read the labels {path}: {error}") from error


def _value(label: str, row_id: str) -> float:
    try:
        return float(label)
    except ValueError:
        raise DatasetError(f"the label {label!r} of {row_id} is not a number") from None
