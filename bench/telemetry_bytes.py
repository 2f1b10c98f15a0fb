"""The MQTT payload of one telemetry window: 16 channels, 500 rows, envelope and signature included."""

import json
from typing import Any

import numpy as np

from edgeops.protocol.envelope import Session, Speaker, seal
from edgeops.protocol.keys import SigningKey
from edgeops.protocol.messages import Phase, Record, Records, Window, encode
from edgeops.protocol.topics import UpKind
from edgeops.sketch.learnt import build_reference
from edgeops.sketch.packing import pack
from edgeops.sketch.summary import summarize
from edgeops.sketch.window import Sketch, Sketcher

CHANNELS = 16
ROWS = 500
BAR = 900
BAR_PER_FURTHER_CHANNEL = 50


def measure() -> dict[str, Any]:
    """The largest of a stable, a shifted, a spread and a partly missing window."""
    sizes = {name: _payload_bytes(CHANNELS, change) for name, change in _CHANGES.items()}
    worst = max(sizes, key=sizes.__getitem__)
    further = (max(_payload_bytes(64, change) for change in _CHANGES.values()) - sizes[worst]) / (64 - CHANNELS)
    return {
        "name": "telemetry_bytes",
        "value": sizes[worst],
        "unit": "B",
        "baseline": _json_bytes(),
        "bar": f"<= {BAR} B, <= {BAR_PER_FURTHER_CHANNEL} B per further channel",
        "holds": sizes[worst] <= BAR and further <= BAR_PER_FURTHER_CHANNEL,
        "inside": (
            f"the MQTT payload: signed envelope with one record, window fields, packed sketch; worst of "
            f"{', '.join(f'{name} {size} B' for name, size in sizes.items())}; {further:.1f} B per further channel. "
            f"baseline: the sketch alone as JSON, without envelope"
        ),
    }


_CHANGES = {
    "stable": lambda rows, _: rows,
    "shifted by 5 sigma": lambda rows, _: rows + 5,
    "ten times as wide": lambda rows, _: rows * 10,
    "a tenth missing": lambda rows, rng: np.where(rng.random(rows.shape) < 0.1, np.nan, rows),
}


def _payload_bytes(channels: int, change: Any) -> int:
    window = Window(
        deployment="vibration-pump1",
        digest=bytes(32),
        phase=Phase.LIVE,
        rows=ROWS,
        source_rows=ROWS,
        errors=0,
        dropped=0,
        duration_ms=3_600_000,
        latency_p50_us=1_250,
        latency_p95_us=9_870,
        sketch=pack(_sketch(channels, change)[0]),
    )
    record = Record(seq=1_000_000, age_ms=60_000, at_ms=1_790_000_000_000, data=encode(window))
    records = Records(spool=bytes(range(8)), records=(record,))
    session = Session(counter=1_000, nonce=bytes(range(8)))
    speaker = Speaker(device="raspberry-pi-kitchen-1a2b", key=SigningKey.generate(), epoch=1, session=session)
    return len(seal(speaker, UpKind.TELEMETRY, seq=1_000_000, body=encode(records)))


def _sketch(channels: int, change: Any) -> tuple[Sketch, Any]:
    rng = np.random.default_rng(1)
    training = rng.normal(size=(5_000, channels)).astype(np.float32)
    reference = build_reference(training, [f"channel-{i}" for i in range(channels)], discrete=())
    sketcher = Sketcher(reference)
    sketcher.add(change(rng.normal(size=(ROWS, channels)), rng).astype(np.float32))
    return sketcher.sketch(), reference


def _json_bytes() -> int:
    sketch, reference = _sketch(CHANNELS, _CHANGES["stable"])
    fields = ("name", "missing", "mean", "std", "min", "max", "histogram")
    summaries = [{name: getattr(channel, name) for name in fields} for channel in summarize(sketch, reference)]
    return len(json.dumps(summaries))
