"""What an answer looks like outside: the one JSON object that files and brokers of the owner's get."""

import time
from datetime import UTC, datetime
from typing import Any

from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase


def described(input_id: str, prediction: Prediction, *, digest: str, phase: Phase) -> dict[str, Any]:
    """`at` (now), `id`, `answer`, `confidence`, `digest` of the artifact that answered, `phase`; of a score `alarm`."""
    alarm = {} if prediction.alarm is None else {"alarm": prediction.alarm}
    return {
        "at": datetime.fromtimestamp(time.time(), UTC),
        "id": input_id,
        "answer": prediction.answer,
        **alarm,
        "confidence": prediction.confidence,
        "digest": digest,
        "phase": phase,
    }
