"""What people, absences and the clock do to a fleet with rollouts: the rules that every machine of them begins with.

Beyond these, `test_rollout_commands` has devices that only say things, `test_rollout_and_updates` has real ones. What is
promised is each one's own.
"""

import contextlib
from datetime import timedelta

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from edgeops import limits
from edgeops.errors import ConflictError, InputError
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import RolloutState
from fleet_server.rollout_orders import abort_rollout
from tests.unit.engine_rig import Fleet

#: Of the machine that runs.
DEVICES = st.runner().flatmap(lambda machine: st.sampled_from(machine.fleet.ids))
WAVES = st.runner().flatmap(lambda machine: st.sampled_from(machine.waves))
POLICIES = st.runner().flatmap(lambda machine: st.sampled_from(machine.policies))
#: Longer than most waits of a course, shorter than the longest.
SOON = {
    "offer_timeout": timedelta(minutes=4),
    "wave_timeout": timedelta(minutes=8),
    "blessing_timeout": timedelta(minutes=10),
}
BAKED = {"bake": timedelta(minutes=1), "evidence_timeout": timedelta(minutes=2)}
#: Goes on without anybody.
BY_ITSELF = {
    RolloutState.SCHEDULED,
    RolloutState.AWAITING_BLESSING,
    RolloutState.RUNNING,
    RolloutState.ROLLING_BACK,
}
#: A look at the fleet while time passes; later ones would be an outage.
GLANCE = limits.HEARTBEAT_MISSED - limits.CLOCK_KEPT_EVERY


class RolloutRules(RuleBasedStateMachine):
    """A fleet whose rollouts begin, overlap and are aborted while devices come and go."""

    fleet: Fleet
    most_rollouts: int
    waves = (("1", "100%"), ("100%",), ("1", "50%", "100%"), ("1", "2", "100%"))
    policies = (
        Policy(bake=timedelta(0), retries=0, **SOON),
        Policy(retries=1, max_in_flight=1, **SOON, **BAKED),
        Policy(
            retries=1, max_in_flight=2, min_success=0.5, max_failure=0.5, roll_back_on_failure=False, **SOON, **BAKED
        ),
        Policy(retries=2, rate_per_minute=1, bake=timedelta(0), retry_after=timedelta(0), **SOON),
    )

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[str] = []
        #: Devices that were removed: they are not heard any more.
        self.gone: set[str] = set()

    @initialize(waves=WAVES, policy=POLICIES)
    def begin(self, waves, policy) -> None:
        self.rollouts.append(self.fleet.roll_out(1, waves=waves, policy=policy))

    @precondition(lambda self: len(self.rollouts) < self.most_rollouts)
    @rule(version=st.sampled_from([1, 2]), waves=WAVES, policy=POLICIES, some=st.booleans(), continuous=st.booleans())
    def roll_out(self, version, waves, policy, some, continuous) -> None:
        self.fleet.now += timedelta(milliseconds=1)
        chosen = {"selector": "id=dev-1", "waves": ("1",)} if some else {"waves": waves}
        with contextlib.suppress(InputError):  # all of them run it, or are pinned
            self.rollouts.append(self.fleet.roll_out(version, policy=policy, continuous=continuous, **chosen))

    @precondition(lambda self: len(self.rollouts) > 1)
    @rule(data=st.data(), roll_back=st.booleans())
    def abort(self, data, roll_back) -> None:
        with contextlib.suppress(ConflictError):
            rollout_id = data.draw(st.sampled_from(self.rollouts))
            abort_rollout(self.fleet.database, rollout_id, self.fleet.me(), roll_back=roll_back)
        self.fleet.run()  # which takes back what did not fit into one transaction

    @rule(device=DEVICES)
    def go(self, device) -> None:
        self.fleet.go(device)

    @rule(device=DEVICES)
    def come(self, device) -> None:
        self.fleet.come(device)

    @precondition(lambda self: not self.gone)
    @rule(device=DEVICES)
    def somebody_leaves_for_good(self, device) -> None:
        self.remove(device)

    def remove(self, device) -> None:
        self.fleet.remove(device)
        self.fleet.ids.remove(device)
        self.gone.add(device)
        self.fleet.run()

    @rule(minutes=st.sampled_from([1, 3, 6]))
    def wait(self, minutes) -> None:
        self.fleet.wait(timedelta(minutes=minutes), step=GLANCE)


#: Hypothesis plays variations of what it has played from the eleventh course of a run on; of courses as long as these
#: they are the same again.
_AT_ONCE = 10


def run(machine: type[RolloutRules], *, examples: int, steps: int, anew: bool = False) -> None:
    """Play so many courses of so many steps: the same ones every time, or `anew` others."""
    for number in range(0, examples, _AT_ONCE):
        run_state_machine_as_test(
            seed(None if anew else number)(machine),
            settings=settings(
                max_examples=min(_AT_ONCE, examples - number),
                stateful_step_count=steps,
                deadline=None,
                derandomize=not anew,
                database=None,
                # Each step costs a few transactions: shrinking a failure would outlast the test's timeout.
                phases=(Phase.generate,),
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
