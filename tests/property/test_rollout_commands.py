"""What the engine may command, whatever devices, people and the clock do.

Stated on the commands, that is on every change of what a device shall run: the state alone could look
right while a device was asked twice or too early.
"""

import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from edgeops.protocol.messages import Reason, UpdateState
from edgeops.rollout.installation import OPEN as OPEN_OFFERS
from edgeops.rollout.installation import InstallationState
from edgeops.rollout.rollout import OPEN, RolloutState
from fleet_server.db import rollouts
from fleet_server.db.events import EventKind
from fleet_server.engine import Engine
from tests.property.rollout_rules import DEVICES, GLANCE, RolloutRules, run
from tests.unit.engine_rig import ENOUGH, Fleet

S = InstallationState
ENDS = st.sampled_from(
    [
        (UpdateState.REJECTED, Reason.NOT_LISTED),
        (UpdateState.FAILED, Reason.GOLDEN),
        (UpdateState.ROLLED_BACK, Reason.INFERENCE),
        (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE),
        (UpdateState.SUPERSEDED, Reason.NEWER),
        (UpdateState.FETCHING, Reason.NONE),
    ]
)


class Commands(RolloutRules):
    """A small fleet with everything that can happen to it, in any order and more than once."""

    most_rollouts = 3

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Fleet(Path(self.folder.name), size=4)
        self.passed: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        """In the end nobody acts any more: every rollout has ended, or waits for a person and says why."""
        self.fleet.wait(timedelta(minutes=35), step=GLANCE)
        for rollout_id in self.rollouts:
            rollout = self.fleet.rollout(rollout_id)
            assert rollout.state is not RolloutState.RUNNING
            assert rollout.reason
        self.fleet.close()
        self.folder.cleanup()

    # -- what happens

    @rule()
    def everybody_commits(self) -> None:
        for installation in self._known():
            if installation.state in OPEN_OFFERS:
                self.fleet.commit(installation.device_id, installation=installation)

    @rule(data=st.data(), times=st.integers(1, 2))
    def commit(self, data, times) -> None:
        installation = self._an_offer(data)
        for _ in range(times):
            self.fleet.commit(installation.device_id, installation=installation)

    @rule(data=st.data(), end=ENDS)
    def end_otherwise(self, data, end) -> None:
        state, reason = end
        installation = self._an_offer(data)
        self.fleet.say(installation.device_id, state, reason=reason, installation=installation)

    @rule(data=st.data())
    def commit_without_proof(self, data) -> None:
        installation = self._an_offer(data)
        few = {**ENOUGH, "inferences": 3}
        self.fleet.say(installation.device_id, UpdateState.COMMITTED, evidence=few, installation=installation)

    @rule(data=st.data(), device=DEVICES)
    def contradict(self, data, device) -> None:
        """A word about any installation of the device, long ended or not asked yet."""
        rollout_id = data.draw(st.sampled_from(self.rollouts))
        installation = self.fleet.installations(rollout_id).get(device)
        if installation is not None:
            state, reason = data.draw(ENDS)
            self.fleet.say(device, state, reason=reason, installation=installation)

    @rule()
    def nobody_is_left(self) -> None:
        for device_id in self.fleet.ids:
            self.fleet.go(device_id)

    @rule()
    def restart_after_an_outage(self) -> None:
        self.fleet.now += timedelta(hours=1)
        self.fleet.engine = Engine(self.fleet.database)
        self.fleet.run()

    # -- what is promised

    @invariant()
    def the_promises_hold(self) -> None:
        members = {rollout_id: self.fleet.installations(rollout_id) for rollout_id in self.rollouts}
        by_id = {one.id: one for installations in members.values() for one in installations.values()}
        self._nobody_is_asked_twice()
        self._nothing_is_wanted_but_open_offers_and_proven_models(by_id)
        self._one_offer_at_a_time(by_id)
        for rollout_id, installations in members.items():
            waves = self.fleet.waves(rollout_id)
            self._a_wave_is_asked_after_the_one_before_passed(waves, installations)
            self._a_passed_wave_has_proof(waves, installations)
            self._counters_are_what_they_count(waves, installations)
            self._who_stands_still_says_why(self.fleet.rollout(rollout_id), installations)

    def _nobody_is_asked_twice(self) -> None:
        news = self.fleet.events(EventKind.INSTALLATION_CHANGED)
        asked = Counter(one.subject for one in news if one.data["state"] == S.OFFERED)
        assert all(count == 1 for count in asked.values())
        changes = self.fleet.events(EventKind.DESIRED_CHANGED)
        revisions = [(one.subject, one.data["revision"]) for one in changes]
        assert len(revisions) == len(set(revisions))

    def _nothing_is_wanted_but_open_offers_and_proven_models(self, by_id) -> None:
        for device_id in self.fleet.ids:
            wanted = self.fleet.desired(device_id)
            if wanted is not None and wanted.digest is not None:
                behind = by_id[wanted.installation]
                assert behind.digest == wanted.digest
                fine = {S.COMMITTED, *OPEN_OFFERS}
                assert behind.state in fine or self._turned_away_by_itself(behind.id), behind.state

    def _one_offer_at_a_time(self, by_id) -> None:
        offers = Counter(one.device_id for one in by_id.values() if one.state in OPEN_OFFERS)
        assert all(count == 1 for count in offers.values())

    def _a_wave_is_asked_after_the_one_before_passed(self, waves, installations) -> None:
        for one in installations.values():
            if one.offered_at is not None:
                assert all(_has_passed(wave) for wave in waves[: one.wave])

    def _a_passed_wave_has_proof(self, waves, installations) -> None:
        for wave in waves:
            seen = (wave.rollout_id, wave.position) in self.passed
            last = wave.position + 1 == len(waves)
            if not _has_passed(wave) or (seen and last):
                continue  # after the last wave, late devices may join it and fail
            self.passed.add((wave.rollout_id, wave.position))
            asked = [one for one in installations.values() if one.wave == wave.position and one.offered_at]
            proven = [one for one in asked if one.state is S.COMMITTED]
            assert proven
            assert all(one.state in {S.COMMITTED, S.SUPERSEDED} for one in asked)
            assert all(one.evidence.inferences >= 20 and not one.evidence.errors for one in proven)

    def _counters_are_what_they_count(self, waves, installations) -> None:
        for wave in waves:
            states = Counter(one.state for one in installations.values() if one.wave == wave.position)
            assert wave.size == states.total()
            assert wave.offered == states.total() - states[S.PENDING] - states[S.SUPERSEDED]
            assert wave.committed == states[S.COMMITTED]
            assert wave.failed == states[S.FAILED] + states[S.REJECTED] + states[S.ROLLED_BACK]
            assert wave.inconclusive == states[S.INCONCLUSIVE] + states[S.TIMED_OUT]

    def _who_stands_still_says_why(self, rollout, installations) -> None:
        assert (rollout.reason == "") == (rollout.state is RolloutState.RUNNING)
        assert (rollout.finished_at is None) == (rollout.state in OPEN)
        if rollout.state in {RolloutState.FAILED, RolloutState.ABORTED}:
            assert not [one for one in installations.values() if one.state in OPEN_OFFERS], (
                "an offer outlived its rollout"
            )

    # -- looking

    def _an_offer(self, data) -> rollouts.Installation:
        """An installation that a device was asked for, an open one if there is any."""
        known = self._known()
        return data.draw(st.sampled_from([one for one in known if one.state in OPEN_OFFERS] or known))

    def _known(self) -> list[rollouts.Installation]:
        return [one for rollout_id in self.rollouts for one in self.fleet.installations(rollout_id).values()]

    def _turned_away_by_itself(self, installation_id: str) -> bool:
        """Whether the device said on its own that it turned to something newer."""
        return any(
            one.data["installation"] == installation_id and one.data["state"] == UpdateState.SUPERSEDED
            for one in self.fleet.events(EventKind.REPORT_RECEIVED)
        )


def _has_passed(wave: rollouts.Wave) -> bool:
    return wave.verdict is not None and wave.verdict["verdict"] == "pass"


def test_whatever_happens_the_commands_keep_their_promises_and_every_rollout_ends_or_waits_for_a_person():
    run(Commands, examples=30, steps=20)
