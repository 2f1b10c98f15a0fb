"""What people, absences and the clock do to a fleet with rollouts: the rules that every machine of them begins with.

Beyond these, `test_rollout_commands` has devices that only say things, `test_rollout_and_updates` has real ones. What is
promised is each one's own.
"""

import contextlib
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from edgeops.errors import ConflictError
from tests.unit.engine_rig import Fleet

#: Of the machine that runs.
DEVICES = st.runner().flatmap(lambda machine: st.sampled_from(machine.fleet.ids))
WAVES = st.sampled_from([("1", "100%"), ("100%",), ("1", "50%", "100%"), ("50%", "2", "100%")])
#: A look at the fleet while time passes.
GLANCE = timedelta(seconds=55)


class RolloutRules(RuleBasedStateMachine):
    """A fleet whose rollouts begin, overlap and are aborted while devices come and go."""

    fleet: Fleet
    most_rollouts: int

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[str] = []

    @initialize(waves=WAVES)
    def begin(self, waves) -> None:
        self.rollouts.append(self.fleet.roll_out(1, waves=waves))

    @precondition(lambda self: len(self.rollouts) < self.most_rollouts)
    @rule(version=st.sampled_from([1, 2]), waves=WAVES, some=st.booleans())
    def roll_out(self, version, waves, some) -> None:
        self.fleet.now += timedelta(milliseconds=1)
        chosen = {"selector": "id=dev-1", "waves": ("1",)} if some else {"waves": waves}
        self.rollouts.append(self.fleet.roll_out(version, **chosen))

    @precondition(lambda self: len(self.rollouts) > 1)
    @rule(data=st.data())
    def abort(self, data) -> None:
        with contextlib.suppress(ConflictError):
            self.fleet.abort(data.draw(st.sampled_from(self.rollouts)))

    @rule(device=DEVICES)
    def go(self, device) -> None:
        self.fleet.go(device)

    @rule(device=DEVICES)
    def come(self, device) -> None:
        self.fleet.come(device)

    @rule(minutes=st.sampled_from([1, 16, 31]))
    def wait(self, minutes) -> None:
        self.fleet.wait(timedelta(minutes=minutes), step=GLANCE)


def run(machine: type[RolloutRules], *, examples: int, steps: int, anew: bool = False) -> None:
    """Play so many courses of so many steps: the same ones every time, or `anew` others."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=not anew,
            database=None,
            # Each step costs a few transactions: shrinking a failure would outlast the test's timeout.
            phases=(Phase.generate,),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
