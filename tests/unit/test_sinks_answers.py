"""What becomes of answers: batches for the spool, lines in a file."""

import json
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from device_agent.config import PredictionMode
from device_agent.sinks.jsonl import JsonlSink
from device_agent.sinks.telemetry import TelemetrySink
from edgeops import limits
from edgeops.digest import digest_bytes, digest_raw
from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase, Predictions, decode

DIGEST = digest_bytes(b"model")
SECOND = 1_000_000_000


def answer(value: float = 1.0, confidence: float = 0.5) -> Prediction:
    return Prediction(value, confidence, 0.0, None, np.zeros(0, np.float32), None)


class Tray:
    """Takes records; full for as long as a test says."""

    def __init__(self) -> None:
        self.records: list[Predictions] = []
        self.full = False

    def __call__(self, data: bytes) -> None:
        if self.full:
            raise OSError("full")
        self.records.append(decode(data, Predictions))


@pytest.fixture
def tray():
    return Tray()


def telemetry(tray, mode):
    sink = TelemetrySink("gas", mode, tray)
    sink.begin(DIGEST, Phase.LIVE)
    return sink


def test_all_answers_leave_in_batches(tray):
    sink = telemetry(tray, PredictionMode.ALL)
    for at in range(limits.PREDICTION_BATCH + 1):
        sink.take(str(at), answer(at), at * 1_000_000)
    (batch,) = tray.records
    assert (batch.deployment, batch.digest, batch.phase) == ("gas", digest_raw(DIGEST), Phase.LIVE)
    assert [item.input_id for item in batch.predictions] == [str(at) for at in range(limits.PREDICTION_BATCH)]
    assert (batch.predictions[0].age_ms, batch.predictions[-1].age_ms) == (limits.PREDICTION_BATCH - 1, 0)
    sink.flush(60 * 1_000_000)
    assert [item.answer for item in tray.records[1].predictions] == [limits.PREDICTION_BATCH]


def test_a_batch_waits_at_most_a_second(tray):
    sink = telemetry(tray, PredictionMode.ALL)
    sink.take("a", answer(), 0)
    sink.tick(SECOND - 1)
    assert tray.records == []
    sink.tick(SECOND)
    assert len(tray.records) == 1


def test_of_the_latest_only_one_a_second_leaves(tray):
    sink = telemetry(tray, PredictionMode.LATEST)
    for at in range(300):
        sink.take(str(at), answer(), at * SECOND // 100)
        sink.tick(at * SECOND // 100)
    assert [[item.input_id for item in record.predictions] for record in tray.records] == [["0"], ["100"], ["200"]]


def test_the_latest_answer_of_a_slow_source_leaves_at_once(tray):
    sink = telemetry(tray, PredictionMode.LATEST)
    for at in range(3):
        sink.take(str(at), answer(), 10 * at * SECOND)
        assert [item.input_id for item in tray.records[at].predictions] == [str(at)]
    assert tray.records[-1].predictions[0].age_ms == 0


def test_the_last_answer_before_a_source_fell_silent_leaves_within_the_second(tray):
    sink = telemetry(tray, PredictionMode.LATEST)
    for at in (0, SECOND // 10, SECOND // 5):
        sink.take(str(at), answer(), at)
    sink.tick(SECOND - 1)
    assert len(tray.records) == 1
    sink.tick(SECOND)
    assert [item.input_id for item in tray.records[1].predictions] == [str(SECOND // 5)]


def test_nothing_leaves_when_answers_stay_private(tray):
    sink = telemetry(tray, PredictionMode.OFF)
    sink.take("a", answer(), 0)
    sink.flush(2 * SECOND)
    assert tray.records == []


def test_a_batch_that_could_not_be_handed_on_is_kept(tray):
    sink = telemetry(tray, PredictionMode.ALL)
    sink.take("a", answer(), 0)
    tray.full = True
    with pytest.raises(OSError, match="full"):
        sink.flush(1)
    tray.full = False
    sink.flush(2)
    assert [item.input_id for item in tray.records[0].predictions] == ["a"]


def test_what_waited_for_room_leaves_in_records_of_the_usual_size(tray):
    sink = telemetry(tray, PredictionMode.ALL)
    tray.full = True
    for at in range(4 * limits.PREDICTION_BATCH):
        with suppress(OSError):
            sink.take(str(at), answer(), 0)
    tray.full = False
    sink.flush(0)
    assert [len(record.predictions) for record in tray.records] == 4 * [limits.PREDICTION_BATCH]
    assert tray.records[-1].predictions[-1].input_id == str(4 * limits.PREDICTION_BATCH - 1)


def test_a_full_record_fits_the_limit_of_the_spool(tray):
    sizes = []
    sink = TelemetrySink("g" * limits.MAX_ID_LENGTH, PredictionMode.ALL, lambda data: sizes.append(len(data)))
    sink.begin(DIGEST, Phase.LIVE)
    for _ in range(limits.PREDICTION_BATCH):
        sink.take("x" * limits.MAX_INPUT_ID_LENGTH, answer(1 / 3, 1 / 3), 0)
    assert sizes[0] <= limits.MAX_RECORD_BYTES


def test_answers_are_lines_of_json(tmp_path):
    path = tmp_path / "answers.jsonl"
    sink = JsonlSink(path)
    sink.begin(DIGEST, Phase.TRIAL)
    sink.take("a", answer(2.0, 0.75), 0)
    sink.tick(SECOND // 2)
    assert not path.exists()
    sink.tick(SECOND)
    sink.take("b", answer(), SECOND)
    sink.flush(SECOND)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    assert {key: lines[0][key] for key in ("answer", "confidence", "digest", "phase")} == {
        "answer": 2.0,
        "confidence": 0.75,
        "digest": DIGEST,
        "phase": "trial",
    }


def test_no_sink_so_far_moves_anything_in_the_world(tray, tmp_path):
    assert not telemetry(tray, PredictionMode.ALL).actuating
    assert not JsonlSink(tmp_path / "a").actuating


def test_a_line_of_a_score_says_whether_it_is_an_alarm(tmp_path):
    sink = JsonlSink(tmp_path / "answers.jsonl")
    sink.begin(DIGEST, Phase.LIVE)
    for alarm in (True, False, None):
        sink.take("1", msgspec.structs.replace(answer(), alarm=alarm), 0)
    sink.flush(0)
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [line.get("alarm") for line in lines] == [True, False, None]
    assert "alarm" not in lines[2]
