"""What a deployment asks of a sink.

The seam between answers and the world. A sink declares whether it acts on the world: an actuating
one never sees a candidate's answers before the candidate is committed. It declares too what the world gets while no
model answers for it: its safe output.
"""

from typing import Protocol

from edgeops.model.postprocess import Prediction
from edgeops.protocol.messages import Phase


class Sink(Protocol):
    """Takes answers one by one, on the deployment's own thread."""

    #: Whether something in the world moves when an answer arrives.
    actuating: bool

    @property
    def dropped(self) -> int:
        """Answers that were given up because the world was away for too long."""

    def begin(self, digest: str, phase: Phase) -> None:
        """The answers from now on are this artifact's, under this standing."""

    def take(self, input_id: str, prediction: Prediction, now_ns: int) -> None:
        """One answer; `now_ns` on the monotonic clock."""

    def rest(self, now_ns: int) -> None:
        """No model answers for this sink until the next `begin`: the world gets the safe output."""

    def tick(self, now_ns: int) -> None:
        """Time passed: hand on what waited long enough."""

    def flush(self, now_ns: int) -> None:
        """Hand on everything, durably: a window closes, or the agent stops."""

    def close(self) -> None:
        """It is needed no more; never blocks for long."""
