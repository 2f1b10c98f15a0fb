"""What a deployment asks of a sink.

The seam between answers and the world. A sink declares whether it acts on the world: an actuating
one never sees a candidate's answers before the candidate is committed.
"""

from typing import Protocol

from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase


class Sink(Protocol):
    """Takes answers one by one, on the deployment's own thread."""

    #: Whether something in the world moves when an answer arrives.
    actuating: bool

    def begin(self, digest: str, phase: Phase) -> None:
        """The answers from now on are this artifact's, under this standing."""

    def take(self, input_id: str, prediction: Prediction, now_ns: int) -> None:
        """One answer; `now_ns` on the monotonic clock."""

    def tick(self, now_ns: int) -> None:
        """Time passed: hand on what waited long enough."""

    def flush(self, now_ns: int) -> None:
        """Hand on everything, durably: a window closes, or the agent stops."""
