"""When the present state is told: at birth, soon after a change, and now and then for the counters.

Decides whether to publish `reported`, and composes it. It does not find out what the state is.
"""

from collections.abc import Callable, Mapping

from device_agent.uplink import Uplink
from edgeops import limits
from edgeops.protocol.messages import DeploymentState, DeviceFacts, Reported
from edgeops.protocol.topics import UpKind

#: Changes closer together than this are told once.
_SETTLE_S = 0.1
#: That something was refused is told after this at the latest; a flood of forgeries must not become one of ours.
_REFUSALS_S = 5.0
#: Counters and facts are told this often although nothing else changed.
_COUNTERS_S = limits.REPORT_INTERVAL.total_seconds()


class Reporter:
    """Publishes `reported`."""

    def __init__(self, uplink: Uplink, *, facts: Callable[[], DeviceFacts]) -> None:
        self._uplink = uplink
        self._facts = facts
        #: What was told last: desired mark, deployments, what the owner named, and what hinders.
        self._told: tuple[object, ...] | None = None
        self._told_refusals = 0
        self._told_s = 0.0

    def forget(self) -> None:
        """A new connection: tell everything again, at once."""
        self._told = None

    def report(
        self,
        *,
        desired: tuple[int, int],
        deployments: tuple[DeploymentState, ...],
        named: object,
        hindrance: str,
        counters: Callable[[], Mapping[str, int]],
        refusals: int,
        now_s: float,
    ) -> bool:
        """Tell the state if it is due; whether it was told. `counters` are asked only then.

        `named` is what of the facts changes by the owner's hand: it is told at once.

        `refusals` counts messages that were not believed; the counters say why.
        """
        state = (desired, deployments, named, hindrance)
        age_s = now_s - self._told_s
        quiet_s = _COUNTERS_S if refusals == self._told_refusals else _REFUSALS_S
        if self._told == state and age_s < quiet_s:
            return False
        if self._told is not None and age_s < _SETTLE_S:
            return False
        body = Reported(
            desired_epoch=desired[0],
            desired_revision=desired[1],
            facts=self._facts(),
            deployments=deployments,
            counters=dict(counters()),
            detail=hindrance,
        )
        if not self._uplink.say(UpKind.REPORTED, body):
            return False
        self._told, self._told_refusals, self._told_s = state, refusals, now_s
        return True
