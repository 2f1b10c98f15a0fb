"""What a demo has shown: the control, the stages, and the document that `--json` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgeops.errors import ServerError
from edgeops.local.circle import Circle, Control, StageFigures
from edgeops.local.demo import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One demo after its first pass."""

    control: Control
    #: Empty when only the control was played.
    stages: tuple[StageFigures, ...]

    def require_shown(self) -> None:
        """Pass when nothing happened without a change, and every change was seen and healed.

        Raises:
            ServerError: says what is missing.
        """
        if self.control.alarms:
            raise ServerError(f"{self.control.alarms} false alarms in the control, where nothing had changed")
        for one in self.stages:
            if not one.drift:
                raise ServerError(f"{one.stage}: the change was not seen: {one.reason}")
            if one.after is None:
                raise ServerError(f"{one.stage}: the fleet was not healed ({one.retraining or 'no retraining'})")
            if one.drifted_after:
                raise ServerError(f"{one.stage}: the healed fleet was found drifted on the rows held out")

    def document(self, report: Report, circle: Circle, *, seconds: float) -> Mapping[str, Any]:
        """For scripts: shares between 0 and 1, times from the server, RFC 3339."""
        stages, quantized, whole = self.stages, report.artifacts["int8"], report.artifacts["float32"]
        windows = sum(one.windows for one in stages)
        per_window = sum(one.telemetry_bytes for one in stages) / windows if windows else None
        return {
            "scenario": report.scenario,
            "seconds": round(seconds, 1),
            "seed": report.seed,
            "labels_per_batch": circle.labels,
            "random_share": circle.random_share,
            "devices": len(report.devices),
            "rollouts": circle.rollouts,
            "mean_static": _mean([one.static for one in stages]),
            "mean_before": _mean([one.before for one in stages]),
            "mean_after": _mean([one.after for one in stages if one.after is not None]),
            "batches": [
                {
                    "batch": one.stage,
                    "static": one.static,
                    "before": one.before,
                    "after": one.after,
                    "drift": one.drift,
                    "drift_at": _rfc3339(one.drift_at),
                    "first_label_at": _rfc3339(one.first_label_at),
                    "labels": one.labels,
                    "stable_after": one.stable_after,
                    "channels": list(one.channels),
                }
                for one in stages
            ],
            "control": {"windows": self.control.windows, "alarms": self.control.alarms},
            "telemetry_bytes_per_window": report.telemetry_bytes_per_window if per_window is None else per_window,
            "artifact": {
                "float_bytes": whole.tflite_bytes,
                "int8_bytes": quantized.tflite_bytes,
                "float_accuracy": whole.accuracy,
                "int8_accuracy": quantized.accuracy,
            },
        }


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
