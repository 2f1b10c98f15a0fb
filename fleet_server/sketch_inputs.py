"""Reads from a window's sketch what the health gate looks at: missing readings, the mix of answers, confidences."""

from edgeops.artifact.manifest import ChannelKind, Task
from edgeops.errors import MessageError
from edgeops.limits import HISTOGRAM_BINS
from edgeops.rollout.health.device import Inputs
from edgeops.sketch.packing import unpack_all
from edgeops.sketch.window import Sketch
from fleet_server.artifacts import Artifacts, KnownArtifact
from fleet_server.db.telemetry import Window

_READINGS = frozenset(
    {ChannelKind.COLUMN, ChannelKind.MEAN, ChannelKind.STD, ChannelKind.RMS, ChannelKind.PEAK, ChannelKind.BRIGHTNESS}
)


def inputs_of(window: Window, artifacts: Artifacts) -> Inputs | None:
    """What a window says of its inputs; None where its model watches nothing, or is not known here.

    Only classes have a mix that can be compared: the bins of a value or a score are those of one model.
    """
    artifact = artifacts.get(window.digest) if window.sketch else None
    if artifact is None:
        return None
    channels, output = artifact.manifest.channels, artifact.manifest.output
    (sketch,) = unpack_all([window.sketch])
    if isinstance(sketch, MessageError) or sketch.channels != len(channels):
        return None
    readings = [place for place, channel in enumerate(channels) if channel.kind in _READINGS]
    answers = [place for place, channel in enumerate(channels) if channel.kind is ChannelKind.ANSWER]
    rated, expected_right_milli = _rated(artifact, sketch)
    has_mix = artifact.manifest.task is Task.CLASSIFICATION and answers and len(output.labels) <= HISTOGRAM_BINS
    return Inputs(
        values=sketch.rows * len(readings),
        missing=int(sketch.missing[readings].sum()),
        mix=tuple(map(int, sketch.counts[answers[0]][: len(output.labels)])) if has_mix else (),
        rated=rated,
        expected_right_milli=expected_right_milli,
    )


def _rated(artifact: KnownArtifact, sketch: Sketch) -> tuple[int, int]:
    """`Inputs.rated` and `.expected_right_milli`; 0 and 0 where no calibration says what a confidence is worth."""
    worth = None if artifact.reference is None else artifact.reference.expected_accuracy()
    kinds = [channel.kind for channel in artifact.manifest.channels]
    if worth is None or ChannelKind.CONFIDENCE not in kinds:
        return 0, 0
    counts = sketch.counts[kinds.index(ChannelKind.CONFIDENCE)]
    return int(counts.sum()), round(1_000 * float(counts @ worth))
