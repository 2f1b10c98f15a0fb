"""What the engine may command, whatever devices, people and the clock do.

Stated on the commands, that is on every change of what a device shall run: the state alone could look
right while a device was asked twice or too early.
"""

import contextlib
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from edgeops.errors import ConflictError
from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.installation import OPEN as OPEN_INSTALLATIONS
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import OPEN, RolloutState
from fleet_server.db.events import EventKind
from fleet_server.engine import Engine
from tests.unit.engine_rig import ENOUGH, Fleet

SIZE = 4
DEVICES = st.integers(0, SIZE - 1).map(lambda number: f"dev-{number}")
WAVES = st.sampled_from([("1", "100%"), ("100%",), ("1", "50%", "100%"), ("50%", "3", "100%")])
ENDS = st.sampled_from(
    [
        (UpdateState.REJECTED, Reason.NOT_LISTED),
        (UpdateState.FAILED, Reason.GOLDEN),
        (UpdateState.ROLLED_BACK, Reason.INFERENCE),
        (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE),
        (UpdateState.SUPERSEDED, Reason.NEWER),
        (UpdateState.TRIAL, Reason.NONE),
        (UpdateState.FETCHING, Reason.NONE),
    ]
)


class Commands(RuleBasedStateMachine):
    """A small fleet with everything that can happen to it, in any order and more than once."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Fleet(Path(self.folder.name), size=SIZE)
        self.rollouts: list[str] = []
        self.seen = 0
        #: Installation -> how often its device was asked.
        self.asked: dict[str, int] = {}

    def teardown(self) -> None:
        """In the end nobody acts any more: every rollout has ended, or waits for a person and says why."""
        self.fleet.wait(timedelta(minutes=35), step=timedelta(seconds=50))
        for rollout_id in self.rollouts:
            rollout = self.fleet.rollout(rollout_id)
            assert rollout.state is not RolloutState.RUNNING
            assert rollout.reason
        self.fleet.close()
        self.folder.cleanup()

    @initialize(waves=WAVES)
    def begin(self, waves) -> None:
        self.rollouts.append(self.fleet.roll_out(1, waves=waves))

    @rule(version=st.sampled_from([1, 2]), waves=WAVES)
    def roll_out_another(self, version, waves) -> None:
        self.fleet.now += timedelta(milliseconds=1)
        self.rollouts.append(self.fleet.roll_out(version, waves=waves))

    @rule(device=DEVICES, again=st.booleans(), data=st.data())
    def commit(self, device, again, data) -> None:
        installation = self._any_installation(data, device)
        for _ in range(1 + again):
            self.fleet.commit(device, installation=installation)

    @rule(device=DEVICES, end=ENDS, data=st.data())
    def end_otherwise(self, device, end, data) -> None:
        state, reason = end
        self.fleet.say(device, state, reason=reason, installation=self._any_installation(data, device))

    @rule(device=DEVICES)
    def commit_without_proof(self, device) -> None:
        self.fleet.say(device, UpdateState.COMMITTED, evidence={**ENOUGH, "inferences": 3})

    @rule(device=DEVICES)
    def go(self, device) -> None:
        self.fleet.go(device)

    @rule(device=DEVICES)
    def come(self, device) -> None:
        self.fleet.come(device)

    @rule(minutes=st.sampled_from([1, 10, 16, 31]))
    def wait(self, minutes) -> None:
        self.fleet.wait(timedelta(minutes=minutes), step=timedelta(seconds=45))

    @rule()
    def restart_after_an_outage(self) -> None:
        self.fleet.now += timedelta(hours=1)
        self.fleet.engine = Engine(self.fleet.database)
        self.fleet.run()

    @rule(data=st.data())
    def abort(self, data) -> None:
        with contextlib.suppress(ConflictError):
            self.fleet.abort(data.draw(st.sampled_from(self.rollouts)))

    @invariant()
    def no_device_is_asked_twice_or_before_its_wave(self) -> None:
        news = [one for one in self.fleet.events(EventKind.INSTALLATION_CHANGED) if one.id > self.seen]
        for one in news:
            self.seen = one.id
            if one.data["state"] == InstallationState.OFFERED:
                self.asked[one.subject] = self.asked.get(one.subject, 0) + 1
                assert self.asked[one.subject] == 1, "asked twice"
        for rollout_id in self.rollouts:
            waves = self.fleet.waves(rollout_id)
            for installation in self.fleet.installations(rollout_id).values():
                if installation.id in self.asked:
                    before = waves[: installation.wave]
                    assert all(wave.verdict and wave.verdict["verdict"] == "pass" for wave in before), "asked too early"

    @invariant()
    def a_passed_wave_has_proof(self) -> None:
        for rollout_id in self.rollouts:
            for wave in self.fleet.waves(rollout_id):
                if wave.verdict and wave.verdict["verdict"] == "pass":
                    proven = [
                        one
                        for one in self.fleet.installations(rollout_id).values()
                        if one.wave == wave.position and one.state is InstallationState.COMMITTED
                    ]
                    assert proven, "a wave passed without any device"
                    assert all(one.evidence.inferences >= 20 and one.evidence.errors == 0 for one in proven)

    @invariant()
    def only_an_open_offer_or_a_proven_model_is_wanted(self) -> None:
        for device_id in self.fleet.ids:
            wanted = self.fleet.desired(device_id)
            if wanted is None or wanted.digest is None:
                continue
            behind = [
                one
                for rollout_id in self.rollouts
                for one in self.fleet.installations(rollout_id).values()
                if one.id == wanted.installation
            ]
            assert behind, "wanted by nobody"
            assert behind[0].digest == wanted.digest
            told_off = {InstallationState.SUPERSEDED} if self._turned_away(behind[0].id) else set()
            assert behind[0].state in {InstallationState.COMMITTED, *OPEN_INSTALLATIONS, *told_off}, behind[0].state

    @invariant()
    def at_most_one_offer_is_open_on_a_device(self) -> None:
        for device_id in self.fleet.ids:
            offers = [
                one.id
                for rollout_id in self.rollouts
                for one in self.fleet.installations(rollout_id).values()
                if one.device_id == device_id and one.state in OPEN_INSTALLATIONS
            ]
            assert len(offers) <= 1

    @invariant()
    def counters_are_what_they_count(self) -> None:
        for rollout_id in self.rollouts:
            members = self.fleet.installations(rollout_id).values()
            for wave in self.fleet.waves(rollout_id):
                states = [one.state for one in members if one.wave == wave.position]
                assert wave.size == len(states)
                committed = states.count(InstallationState.COMMITTED)
                unasked = states.count(InstallationState.PENDING) + states.count(InstallationState.SUPERSEDED)
                assert (wave.offered, wave.committed) == (len(states) - unasked, committed)
                assert wave.failed + wave.inconclusive + committed <= wave.offered

    @invariant()
    def a_rollout_that_stands_still_says_why(self) -> None:
        for rollout_id in self.rollouts:
            rollout = self.fleet.rollout(rollout_id)
            assert (rollout.reason == "") == (rollout.state is RolloutState.RUNNING)
            assert (rollout.finished_at is None) == (rollout.state in OPEN)

    @invariant()
    def revisions_of_a_device_never_repeat(self) -> None:
        revisions = [(one.subject, one.data["revision"]) for one in self.fleet.events(EventKind.DESIRED_CHANGED)]
        assert len(revisions) == len(set(revisions))

    def _any_installation(self, data, device: str):
        rollout_id = data.draw(st.sampled_from(self.rollouts))
        return self.fleet.installations(rollout_id)[device]

    def _turned_away(self, installation_id: str) -> bool:
        """Whether the device itself said that it turned to something newer."""
        return any(
            one.data["installation"] == installation_id and one.data["state"] == UpdateState.SUPERSEDED
            for one in self.fleet.events(EventKind.REPORT_RECEIVED)
        )


def test_whatever_happens_the_commands_keep_their_promises_and_every_rollout_ends_or_waits_for_a_person():
    run_state_machine_as_test(
        Commands,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
