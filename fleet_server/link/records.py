"""Decides what one spool record becomes: rows of values that were checked, or a MessageError.

Pure. What a record must fit to (the artifact, the nomination) is handed in; whether the record is new is decided in
`fleet_server.link.reading`.
"""

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from edgeops import limits
from edgeops.digest import digest_from_raw
from edgeops.errors import MessageError
from edgeops.protocol.messages import Predictions, Record, Report, Sample, Samples, Window, encode
from edgeops.sketch.packing import unpack_all
from edgeops.sketch.window import Sketch
from fleet_server.db.ingest import PredictionRow, WindowRow
from fleet_server.db.nominations import Nomination
from fleet_server.db.samples import SampleRow
from fleet_server.link.catalog import Expected
from fleet_server.link.entries import Place

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_AGE_MS = limits.MAX_RECORD_AGE // timedelta(milliseconds=1)
_SAMPLE_ID_DIGITS = 32


def made_at(record: Record, received_at: datetime) -> datetime:
    """When a record was made: by the server's clock minus its age, else by a plausible device clock."""
    if 0 <= record.age_ms <= _MAX_AGE_MS:
        return received_at - timedelta(milliseconds=record.age_ms)
    arrived_ms = (received_at - _EPOCH) // timedelta(milliseconds=1)
    ahead_ms = limits.MAX_CLOCK_AHEAD // timedelta(milliseconds=1)
    if arrived_ms - _MAX_AGE_MS <= record.at_ms <= arrived_ms + ahead_ms:
        return min(_EPOCH + timedelta(milliseconds=record.at_ms), received_at)
    return received_at


def window_row(place: Place, record: Record, window: Window, received_at: datetime) -> WindowRow:
    """One window; its sketch is judged by `read_sketches`."""
    return WindowRow(
        device_id=place.device_id,
        spool=place.spool,
        seq=place.seq,
        deployment=window.deployment,
        digest=digest_from_raw(window.digest),
        phase=window.phase,
        closed_at=made_at(record, received_at),
        received_at=received_at,
        duration_ms=window.duration_ms,
        rows=window.rows,
        source_rows=window.source_rows,
        errors=window.errors,
        dropped=window.dropped,
        latency_p50_us=window.latency_p50_us,
        latency_p95_us=window.latency_p95_us,
        record_bytes=len(record.data),
        sketch=window.sketch,
        paired=b"" if window.paired is None else encode(window.paired),
    )


def read_sketches(rows: Sequence[WindowRow]) -> list[Sketch | MessageError | None]:
    """The sketch of each window, what is wrong with it, or None where the window has none."""
    read = iter(unpack_all([row["sketch"] for row in rows if row["sketch"]]))
    return [next(read) if row["sketch"] else None for row in rows]


def check_sketch(row: WindowRow, sketch: Sketch | None, expected: Expected | None) -> None:
    """Pass when the sketch is one of this window's rows and, where the artifact is known, of its channels.

    Raises:
        MessageError: it is not.
    """
    channels = 0 if sketch is None else sketch.channels
    # What a model refused has no answer, but readings.
    if sketch is not None and not row["rows"] <= sketch.rows <= row["rows"] + row["errors"]:
        errors = f" and {row['errors']} errors" if row["errors"] else ""
        raise MessageError(f"a window of {row['rows']} rows{errors} with a sketch of {sketch.rows}")
    if expected is not None and channels != expected.channels:
        raise MessageError(f"a sketch of {channels} channels; its model watches {expected.channels}")


def check_paired(window: Window, cells: int) -> None:
    """Pass when what a shadow answered can have happened beside this window's own answers.

    `cells` is in how many cells the answers of these two artifacts are counted.

    Raises:
        MessageError: it cannot.
    """
    paired = window.paired
    if paired is None:
        return
    if paired.shadow == window.digest:
        raise MessageError(f"a model that is its own shadow, {digest_from_raw(paired.shadow)}")
    if paired.rows + paired.shadow_errors > window.rows or paired.errors > window.errors:
        raise MessageError(
            f"{paired.rows} pairs, {paired.errors} and {paired.shadow_errors} errors of one model alone, in a window "
            f"of {window.rows} rows and {window.errors} errors"
        )
    tried = paired.rows + paired.errors + paired.shadow_errors + paired.skipped + paired.unmatched
    if tried > window.rows + window.errors:
        raise MessageError(f"{tried} inputs to be paired in a window of {window.rows} rows and {window.errors} errors")
    if len(paired.cells) != cells or sum(paired.cells) != (paired.rows if cells else 0):
        raise MessageError(
            f"{len(paired.cells)} cells that count {sum(paired.cells)} pairs of {paired.rows}; these two models are "
            f"counted in {cells}"
        )


def prediction_rows(place: Place, record: Record, batch: Predictions, received_at: datetime) -> list[PredictionRow]:
    """A batch of answers.

    Raises:
        MessageError: an answer that is not a finite number.
    """
    digest = digest_from_raw(batch.digest)
    made = made_at(record, received_at)
    rows: list[PredictionRow] = []
    for prediction in batch.predictions:
        if not (math.isfinite(prediction.answer) and math.isfinite(prediction.confidence)):
            raise MessageError(f"the answer to input {prediction.input_id!r} is not a finite number")
        row = PredictionRow(
            device_id=place.device_id,
            deployment=batch.deployment,
            digest=digest,
            input_id=prediction.input_id,
            phase=batch.phase,
            answer=prediction.answer,
            confidence=prediction.confidence,
            answered_at=_answered_at(made, prediction.age_ms),
            received_at=received_at,
        )
        rows.append(row)
    return rows


def sample_rows(
    place: Place,
    record: Record,
    answer: Samples,
    *,
    asked: Nomination,
    expected: Expected | None,
    received_at: datetime,
) -> list[SampleRow]:
    """A part of what a device nominated when it was asked; a sample's id follows from its place in the spool.

    Raises:
        MessageError: it was asked for others, or one of them cannot be a sample.
    """
    digest = digest_from_raw(answer.digest)
    if (asked.deployment, asked.digest) != (answer.deployment, digest):
        raise MessageError(f"samples of {answer.deployment} and {digest}; {asked.id} asked for others")
    if answer.part > asked.count:
        raise MessageError(f"part {answer.part} of an answer to {asked.id}, which asked for {asked.count} samples")
    made = made_at(record, received_at)
    rows: list[SampleRow] = []
    for number, sample in enumerate(answer.samples):
        _check_sample(sample, expected)
        row = SampleRow(
            id=_sample_id(place, number),
            device_id=place.device_id,
            deployment=answer.deployment,
            digest=digest,
            nomination=asked.id,
            input_id=sample.input_id,
            answered_at=_answered_at(made, sample.age_ms),
            received_at=received_at,
            readings=sample.values,
            answer=sample.answer,
            confidence=sample.confidence,
            weight=sample.weight,
            by_chance=sample.by_chance,
            shadow_answer=sample.shadow_answer,
        )
        rows.append(row)
    return rows


def report_data(report: Report) -> dict[str, object]:
    """A report as event data: plain JSON, the digest as text."""
    return {
        "installation": report.installation,
        "deployment": report.deployment,
        "digest": digest_from_raw(report.digest),
        "state": report.state,
        "reason": report.reason,
        "detail": report.detail,
        "evidence": None if report.evidence is None else msgspec.structs.asdict(report.evidence),
    }


def _check_sample(sample: Sample, expected: Expected | None) -> None:
    name = repr(sample.input_id)
    numbers = (sample.answer, sample.confidence, sample.weight, sample.shadow_answer or 0.0)
    if not all(map(math.isfinite, numbers)):
        raise MessageError(f"sample {name} has a number that is not finite")
    if not sample.values or len(sample.values) % 4 or np.isinf(np.frombuffer(sample.values, "<f4")).any():
        raise MessageError(f"sample {name} has {len(sample.values)} bytes of readings that are no float32 values")
    readings = len(sample.values) // 4
    if expected is not None and readings != expected.readings:
        raise MessageError(f"sample {name} has {readings} readings; its model takes {expected.readings}")


def _sample_id(place: Place, number: int) -> str:
    """The same for a record that is taken in twice."""
    key = f"{place.device_id}\n{place.spool.hex()}\n{place.seq}\n{number}"
    return f"sample-{hashlib.sha256(key.encode()).hexdigest()[:_SAMPLE_ID_DIGITS]}"


def _answered_at(made: datetime, age_ms: int) -> datetime:
    return made - timedelta(milliseconds=min(age_ms, _MAX_AGE_MS))
