"""`edgeops-agent predict`, `batch` and `bench`: try an artifact on this machine, without an agent.

Prints; what an answer is worth is found in `judging`, what it costs in `timing`.
"""

import csv
import json
import platform
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, assert_never

from device_agent.judging import Answer, Summary, answers, compare, read_labels
from device_agent.pairing import percentiles_us
from device_agent.store.spool import Spool
from device_agent.timing import time_inference
from edgeops.artifact.manifest import Task
from edgeops.errors import InputError, NotFoundError
from edgeops.model.model import Model


def predict(artifact: Path, file: Path, *, as_json: bool) -> int:
    """Print the artifact's answer to every row of a file; the exit code.

    Raises:
        InputError: artifact or file cannot be used.
    """
    model = Model.load(_existing(artifact))
    summary = Summary()
    for answer in answers(model, file, summary):
        if as_json:
            print(json.dumps(answer.document()))
        elif answer.alarm is None:
            print(f"{answer.id}\t{answer.label}\t{answer.confidence:.3f}")
        else:
            print(f"{answer.id}\t{answer.label}\t{'alarm' if answer.alarm else 'normal'}")
    if summary.errors:
        print(f"{summary.errors} inputs had no answer; the last: {summary.last_error}", file=sys.stderr)
    return 0 if summary.rows or not summary.errors else 1


def batch(artifact: Path, file: Path, *, labels: Path | None, output: Path | None, as_json: bool) -> int:
    """Judge an artifact on a file and print what it came to; the exit code.

    Raises:
        InputError: artifact, file or labels cannot be used.
        OSError: `output` cannot be written.
    """
    model = Model.load(_existing(artifact))
    labelled = read_labels(labels) if labels is not None else {}
    summary, task = Summary(), model.manifest.task

    def judged() -> Iterable[Answer]:
        for answer in answers(model, file, summary):
            compare(summary, answer, labelled, task=task)
            yield answer

    if output is not None:
        _write_answers(output, judged())
    else:
        for _ in judged():
            pass
    p50, p95, p99 = percentiles_us(summary.latencies_ns, (0.50, 0.95, 0.99))
    document: dict[str, Any] = {
        "model": model.manifest.name,
        "version": model.manifest.version,
        "variant": model.manifest.variant,
        "answers": summary.rows,
        "errors": summary.errors,
        "latency_us": {"p50": p50, "p95": p95, "p99": p99},
    }
    if task is Task.CLASSIFICATION:
        document["mix"] = dict(sorted(summary.mix.items()))
    if task is Task.ANOMALY:
        document["alarms"] = summary.alarms
    if labels is not None:
        if not summary.labelled:
            raise InputError(f"{labels} has no label for any id in {file}; both must name the same ids")
        document |= {"labelled": summary.labelled, **_worth(summary, task)}
    _print_document(document, as_json=as_json)
    return 0


def bench(artifact: Path, *, inferences: int, as_json: bool) -> int:
    """Print what the agent costs per inference; the exit code.

    Raises:
        ArtifactError: the artifact cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool.open(Path(folder) / "spool.db")
        timing = time_inference(_existing(artifact), spool, inferences=inferences)
        spool.close()
    document = {
        "machine": platform.machine(),
        "inferences": timing.inferences,
        "bare_us": {"mean": round(timing.bare_mean_us, 1), "p50": timing.bare_p50_us, "p99": timing.bare_p99_us},
        "agent_us": {
            "mean": round(timing.agent_mean_us, 1),
            "p50": timing.agent_p50_us,
            "p95": timing.agent_p95_us,
            "p99": timing.agent_p99_us,
        },
        "overhead_us": round(timing.overhead_us, 1),
    }
    _print_document(document, as_json=as_json)
    return 0


def _worth(summary: Summary, task: Task) -> dict[str, float]:
    """What labels say; of a detector what can be told of those anomalous and normal rows that there are."""
    match task:
        case Task.CLASSIFICATION:
            return {"accuracy": summary.correct / summary.labelled}
        case Task.REGRESSION:
            return {"mean_absolute_error": summary.absolute_error / summary.labelled}
        case Task.ANOMALY:
            normal = summary.labelled - summary.anomalies
            alarms = summary.hits + summary.false_alarms
            shares = {
                "f1": (2 * summary.hits, summary.anomalies + alarms),
                "precision": (summary.hits, alarms),
                "recall": (summary.hits, summary.anomalies),
                "false_alarm_rate": (summary.false_alarms, normal),
            }
            return {name: part / whole for name, (part, whole) in shares.items() if whole}
        case _:
            assert_never(task)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise NotFoundError(f"no such file: {path}")
    return path


def _write_answers(path: Path, answers: Iterable[Answer]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix.lower() == ".csv":
            rows = csv.writer(file)
            rows.writerow(("id", "answer", "label", "confidence", "alarm"))
            rows.writerows((item.id, item.answer, item.label, item.confidence, _word(item.alarm)) for item in answers)
        else:
            for item in answers:
                file.write(json.dumps(item.document()) + "\n")


def _word(alarm: bool | None) -> str:  # noqa: FBT001 - the one thing that it says
    """As JSON spells it; empty where there is none."""
    return "" if alarm is None else json.dumps(alarm)


def _print_document(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document))
        return
    for name, value in document.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {item}" for key, item in value.items())  # noqa: PLW2901 - shown instead of the dict
        print(
            f"{name.replace('_', ' '):<20} {value:.4f}"
            if isinstance(value, float)
            else f"{name.replace('_', ' '):<20} {value}"
        )
