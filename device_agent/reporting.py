"""When the present state is told: at birth, soon after a change, and now and then for the counters.

Decides whether to publish `reported`, and composes it. It does not find out what the state is.
"""

from collections.abc import Callable, Mapping

from device_agent.uplink import Uplink
from edgeops.protocol.messages import DeploymentState, DeviceFacts, Reported
from edgeops.protocol.topics import UpKind

#: Changes closer together than this are told once.
_SETTLE_S = 0.1
#: Counters and facts alone are told this often.
_COUNTERS_S = 60.0


class Reporter:
    """Publishes `reported`."""

    def __init__(self, uplink: Uplink, *, facts: Callable[[], DeviceFacts]) -> None:
        self._uplink = uplink
        self._facts = facts
        #: What was told last: desired mark and deployments, then counters.
        self._told: tuple[object, object] | None = None
        self._told_s = 0.0

    def forget(self) -> None:
        """A new connection: tell everything again, at once."""
        self._told = None

    def report(
        self,
        *,
        desired: tuple[int, int],
        deployments: tuple[DeploymentState, ...],
        counters: Mapping[str, int],
        now_s: float,
    ) -> bool:
        """Tell the state if it is due; whether it was told."""
        state = (desired, deployments)
        if self._told is not None:
            age_s = now_s - self._told_s
            moved = state != self._told[0] and age_s >= _SETTLE_S
            counted = dict(counters) != self._told[1] and age_s >= _COUNTERS_S
            if not (moved or counted):
                return False
        body = Reported(
            desired_epoch=desired[0],
            desired_revision=desired[1],
            facts=self._facts(),
            deployments=deployments,
            counters=dict(counters),
        )
        if not self._uplink.say(UpKind.REPORTED, body):
            return False
        self._told, self._told_s = (state, dict(counters)), now_s
        return True
