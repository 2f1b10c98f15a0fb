"""The rollout machine and update machines together, over a wire that loses, repeats, reorders and replays.

Power fails at any border of a device; the server may be lost and come back out of a backup. The promises are stated on
the commands that both sides give (`tests.property.played_fleet` checks those of devices as they are given).
"""

import contextlib
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from edgeops.errors import InputError, NotFoundError
from edgeops.protocol.messages import UpdateState
from edgeops.rollout.installation import BAD as ENDED_BADLY
from edgeops.rollout.installation import HOLDING, InstallationState, is_final
from edgeops.rollout.installation import OPEN as OPEN_OFFERS
from edgeops.rollout.rollout import OPEN, PASSED, RolloutState
from edgeops.update.machine import Command
from edgeops.update.update import RESTING
from tests.property.played_fleet import BAD, GOOD, NEVER, OUTCOMES, WAITING, PlayedDevice, PlayedSite
from tests.property.rollout_rules import BY_ITSELF, DEVICES, GLANCE, POLICIES, WAVES, RolloutRules, run
from tests.unit.engine_rig import digest_of

#: One that was asked for something, if there is any.
ASKED = st.runner().flatmap(lambda machine: st.sampled_from(machine.asked() or machine.fleet.ids))
#: How far the first rollout has come when chance takes over.
STARTS = st.sampled_from(["barely", "waits", "well", "fallen"])
WAITS = st.sampled_from(sorted(WAITING))
BORDERS = st.sampled_from([NEVER, NEVER, 1, 2, 3, 4, 6])

#: What may still become of an outcome: the gate passes it, the server takes it back or asks again.
AFTERWARDS = {
    **{state: {InstallationState.RETRIED} for state in ENDED_BADLY},
    InstallationState.COMMITTED: {
        InstallationState.HEALTHY,
        InstallationState.REGRESSED,
        InstallationState.ROLLED_BACK,
    },
    InstallationState.HEALTHY: {InstallationState.REGRESSED, InstallationState.ROLLED_BACK},
    InstallationState.REGRESSED: {InstallationState.ROLLED_BACK},
}


class Together(RolloutRules):
    """One engine, three devices."""

    most_rollouts = 6

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.site = PlayedSite(Path(self._folder.name), size=3)
        self.fleet = self.site.fleet
        self._is_backed_up = self._was_lost = False

    def teardown(self) -> None:
        """Once messages flow, every rollout ends; and yesterday's backup, rolled out again, brings all to one model."""
        try:
            for device_id in self.fleet.ids:
                self.fleet.come(device_id)
            self.site.everything_flows()
            self._everybody_turned_to_what_was_wanted_last()
            self._time_passes()
            self._every_rollout_has_ended()
            self.site.back_up()
            for version in (1, 2):  # by two revisions ahead of the backup
                self._roll_out_to_the_end(version)
            self.lose_the_server()
            again = self._roll_out_to_the_end(2)
            self.the_promises_hold()
            assert again is None or again.state is RolloutState.FINISHED, again
            for device in self.site.present:
                assert device.active == digest_of(2)
                assert device.unsaid() == []
                assert device.world.owed <= device.acknowledged, "an end that the server never heard of"
        finally:
            self.site.close()
            self._folder.cleanup()

    # -- many at once

    @initialize(waves=WAVES, policy=POLICIES, how=STARTS, data=st.data())
    def begin(self, waves, policy, how, data) -> None:
        """Some courses begin where a device waits for its owner, some where every one runs a model, or ran it."""
        super().begin(waves=waves, policy=policy)
        if how == "waits":
            self.it_waits_for_leave_and_says_so(self.asked()[0], data.draw(WAITS), data, minutes=1)
        if how in {"well", "fallen"}:
            self.everything_flows()
        if how == "fallen" and self.running():
            self.the_active_model_takes_the_agent_down(data, told=True)

    @rule()
    def everything_flows(self) -> None:
        """Wave after wave is installed and bakes: chance alone leads few devices as far as a commit."""
        for device_id in self.fleet.ids:
            self.fleet.come(device_id)
        for _ in range(2):
            self.site.everything_flows()
            self.wait(minutes=1)

    # -- the server

    # Once each: a restored server asks nothing more of anybody, and these two alone would fill most courses.

    @precondition(lambda self: not self._is_backed_up)
    @rule()
    def back_up(self) -> None:
        self._is_backed_up = True
        self.site.back_up()

    @precondition(lambda self: self._is_backed_up and not self._was_lost and len(self.rollouts) > 1)
    @rule()
    def lose_the_server(self) -> None:
        self._was_lost = True
        if self.site.restore():
            self.rollouts = [one for one in self.rollouts if self.fleet.rollout(one) is not None]
            assert all(self.fleet.rollout(one).state not in OPEN for one in self.rollouts)
            for device_id in self.gone:  # the backup may know it as present
                with contextlib.suppress(NotFoundError):
                    self.fleet.remove(device_id)

    # -- the wire

    @rule(device=DEVICES, borders=BORDERS)
    def the_desired_state_arrives(self, device, borders) -> None:
        self.site.compose()
        if self.site.desired[device]:
            with self._device(device).dying_in(borders):
                self._device(device).hear(self.site.desired[device][-1])

    def the_desired_state_arrives_whole(self, device) -> None:
        self.site.compose()
        if self.site.desired[device]:
            self._device(device).hear(self.site.desired[device][-1])

    @rule(data=st.data(), device=DEVICES)
    def an_old_desired_state_arrives(self, data, device) -> None:
        self.site.compose()
        if self.site.desired[device]:
            self._device(device).hear(data.draw(st.sampled_from(self.site.desired[device])))

    @rule(data=st.data(), device=DEVICES, ack=st.booleans(), borders=BORDERS)
    def reports_arrive(self, data, device, ack, borders) -> None:
        """Some of them, in any order; the ack may be lost."""
        played = self._device(device)
        waiting = played.unsaid()
        if waiting:
            chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
            self.site.take_in(played, chosen)
            if ack:
                with played.dying_in(borders):
                    played.hear_ack(set(self.site.ledger[device]))

    @rule(data=st.data(), device=DEVICES)
    def a_report_takes_effect_twice(self, data, device) -> None:
        played = self._device(device)
        if played.spool:
            self.site.take_in_again(played, data.draw(st.sampled_from(sorted(played.spool))))

    @rule(device=DEVICES)
    def the_present_state_arrives(self, device) -> None:
        self.site.hear_reported(self._device(device))

    # -- devices

    @rule(device=DEVICES, borders=BORDERS)
    def work(self, device, borders) -> None:
        with self._device(device).dying_in(borders):
            self._device(device).work()

    @rule(device=DEVICES, acts=st.integers(1, 6))
    def work_with_a_hindrance(self, device, acts) -> None:
        self.the_desired_state_arrives_whole(device)
        with self._device(device).hindered_in(acts):
            self._device(device).work()

    @rule(data=st.data(), device=DEVICES, borders=BORDERS)
    def a_step_ends(self, data, device, borders) -> None:
        played = self._device(device)
        with played.dying_in(borders):
            if played.doing in OUTCOMES:
                played.step_ends(data.draw(st.sampled_from(OUTCOMES[played.doing])))
            else:
                played.time_passes()

    @rule(device=DEVICES, evidence=st.sampled_from([GOOD, BAD]), quiet=st.booleans(), borders=BORDERS)
    def the_trial_goes_on(self, device, evidence, quiet, borders) -> None:
        played = self._device(device)
        if played.update.state is UpdateState.TRIAL:
            with played.dying_in(borders):
                played.trial_goes_on(evidence, quiet=timedelta(hours=quiet))

    @rule(device=DEVICES)
    def power_fails(self, device) -> None:
        self._device(device).boot()

    @rule(device=DEVICES)
    def the_spool_is_lost(self, device) -> None:
        self.site.lose_spool(self._device(device))

    @rule(device=DEVICES, borders=BORDERS)
    def all_goes_well_for_a_while(self, device, borders) -> None:
        """The same for one device."""
        played = self._device(device)
        self.fleet.come(device)
        self.the_desired_state_arrives_whole(device)
        with played.dying_in(borders):
            played.work()
        self.site.take_in(played, played.unsaid())
        with played.dying_in(borders):
            played.hear_ack(set(self.site.ledger[device]))
        self.site.hear_reported(played)

    @precondition(lambda self: self.asked())
    @rule(device=ASKED, where=WAITS, data=st.data(), minutes=st.sampled_from([0, 1, 3]))
    def it_waits_for_leave_and_says_so(self, device, where, data, minutes) -> None:
        """A deadline of the server may run out meanwhile."""
        played = self._device(device)
        self.fleet.come(device)
        self.the_desired_state_arrives_whole(device)
        played.work(until=where)
        if played.doing is where:
            played.step_ends(data.draw(st.sampled_from(WAITING[where])))
            self.site.hear_reported(played)
            self.fleet.wait(timedelta(minutes=minutes), step=GLANCE)

    @precondition(lambda self: self.asked())
    @rule(device=ASKED, where=st.sampled_from([*sorted(OUTCOMES), Command.START_TRIAL]), data=st.data())
    def a_step_goes_wrong_and_it_says_so(self, device, where, data) -> None:
        played = self._device(device)
        self.fleet.come(device)
        self.the_desired_state_arrives_whole(device)
        played.work(until=where)
        if played.doing is not where:
            return
        if where is Command.START_TRIAL:
            played.trial_goes_on(BAD)
        else:
            played.step_ends(data.draw(st.sampled_from(OUTCOMES[where][1:])))
        self.site.take_in(played, played.unsaid())
        self.site.hear_reported(played)

    #: Listed again to be played more often.
    it_waits_again = it_waits_for_leave_and_says_so
    a_step_goes_wrong_again = a_step_goes_wrong_and_it_says_so

    @precondition(lambda self: self.running())
    @rule(data=st.data(), told=st.booleans())
    def the_active_model_takes_the_agent_down(self, data, told) -> None:
        played = data.draw(st.sampled_from(self.running()))
        played.model_takes_the_agent_down()
        if told:
            self.site.hear_reported(played)

    it_takes_the_agent_down_again = the_active_model_takes_the_agent_down

    @rule(device=DEVICES)
    def the_card_turns_a_bit(self, device) -> None:
        self._device(device).card_turns_a_bit()

    # -- what is promised, beside what devices check as they go

    @invariant()
    def the_promises_hold(self) -> None:
        self.fleet.show_all()
        for rollout_id in self.rollouts:
            for one in self.fleet.attempts(rollout_id):
                self._an_outcome_stands(one)
                if one.state in HOLDING:
                    device = self._device(one.device_id)
                    assert one.digest in device.world.committed, "the server believes what never happened"
        for device in self.site.devices.values():
            assert device.active is None or device.active in device.world.verified
            assert device.active is None or device.active in device.world.committed
            finals = {key for key in device.spool.keys() | device.world.gone if key.endswith("/final")}
            assert finals == set(device.world.finals), "a final status that is not in the spool"

    def _an_outcome_stands(self, one) -> None:
        before = self.site.outcomes.get(one.id)
        if before is not None and one.state != before:
            assert one.state in AFTERWARDS.get(before, ()), f"{before} became {one.state}"
        if is_final(one.state):
            self.site.outcomes[one.id] = one.state

    def _roll_out_to_the_end(self, version):
        self.fleet.now += timedelta(milliseconds=1)
        try:
            rollout_id = self.fleet.roll_out(version, waves=("1", "100%"))
        except InputError:
            return None  # every device runs it already
        for _ in range(2):
            self.site.everything_flows()
            self.fleet.wait(timedelta(seconds=2), step=timedelta(seconds=1))
        return self.fleet.rollout(rollout_id)

    def _everybody_turned_to_what_was_wanted_last(self) -> None:
        for device in self.site.present:
            for wanted in self.site.desired[device.id][-1].deployments if self.site.desired[device.id] else ():
                assert device.update.next is None
                assert device.update.wanted is not None
                assert device.update.wanted.digest == wanted.digest
                assert device.update.state in RESTING

    def _time_passes(self) -> None:
        """Until nothing goes on by itself: devices that do not say more time out, waves bake."""
        for _ in range(20):
            if not any(self.fleet.rollout(one).state in BY_ITSELF for one in self.rollouts):
                return
            self.fleet.wait(timedelta(minutes=2), step=GLANCE)
            self.site.everything_flows()

    def _every_rollout_has_ended(self) -> None:
        for rollout_id in self.rollouts:
            rollout = self.fleet.rollout(rollout_id)
            assert rollout.state not in BY_ITSELF
            assert rollout.reason
            if rollout.state not in OPEN | PASSED:
                states = {one.state for one in self.fleet.attempts(rollout_id)}
                assert all(is_final(state) for state in states), "a device is left waiting for what has ended"

    def running(self) -> list[PlayedDevice]:
        """The devices that run a model."""
        return [device for device in self.site.present if device.active]

    def asked(self) -> list[str]:
        """The devices that have an open offer."""
        known = [one for rollout_id in self.rollouts for one in self.fleet.attempts(rollout_id)]
        return sorted({one.device_id for one in known if one.state in OPEN_OFFERS})

    def _device(self, device_id):
        return self.site.devices[device_id]


def test_whatever_the_wire_the_power_and_the_server_do_both_machines_keep_their_promises():
    run(Together, examples=5, steps=22)


@pytest.mark.long
@pytest.mark.timeout(1_200)  # new courses, of which none knows how long they are
def test_courses_that_were_never_played_before_break_no_promise_either():
    run(Together, examples=40, steps=40, anew=True)
