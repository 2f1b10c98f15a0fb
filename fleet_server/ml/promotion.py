"""The promotion gate in its first form: better than guessing, and quantizing costs next to nothing.

A pure function of judgements, with its reasons in words. A failed gate does not stop a person from
publishing; it stands in the descriptor for everyone to read.
"""

from edgeops.artifact.manifest import Promotion
from fleet_server.ml.judging import Judgement

#: Points of accuracy that int8 may lose against float32.
MAX_QUANTIZATION_LOSS = 0.01


def promote(judgement: Judgement, *, float32: Judgement) -> Promotion:
    """Whether one variant may be promoted; `float32` is the judgement of its unquantized sibling."""
    loss = float32.accuracy - judgement.accuracy
    better = (
        f"accuracy {judgement.accuracy:.4f} against {judgement.majority:.4f} for the most frequent class, "
        f"on {judgement.rows} rows it never saw"
    )
    lossless = f"accuracy lost against float32: {100 * loss:.2f} points of {100 * MAX_QUANTIZATION_LOSS:.0f} allowed"
    checks = (
        (judgement.accuracy > judgement.majority, better),
        (loss <= MAX_QUANTIZATION_LOSS, lossless),
    )
    reasons = tuple(f"{'passed' if passed else 'failed'}: {reason}" for passed, reason in checks)
    return Promotion(passed=all(passed for passed, _ in checks), reasons=reasons)
