"""What the engine may command, whatever devices, people and the clock do.

Stated on the commands, that is on every change of what a device shall run: the state alone could look
right while a device was asked twice or too early.
"""

import contextlib
import tempfile
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from sqlalchemy import select

from edgeops.errors import ConflictError, InputError
from edgeops.protocol.messages import Presence, Reason, UpdateState
from edgeops.rollout.evidence import Proof
from edgeops.rollout.installation import HOLDING, IN_FLIGHT, InstallationState
from edgeops.rollout.installation import OPEN as OPEN_OFFERS
from edgeops.rollout.pins import Pin
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import OPEN, RolloutState, waits_for
from fleet_server import rollout_freeze, targets
from fleet_server import rollout_orders as orders
from fleet_server.db import devices, events, rollouts, tables, withdrawals
from fleet_server.db.events import EventKind
from fleet_server.db.installations import Installation
from fleet_server.db.reach import FOLLOWED, Reach
from fleet_server.engine import Engine
from tests.property.rollout_rules import BY_ITSELF, DEVICES, GLANCE, RolloutRules, run
from tests.stores import STORES
from tests.unit.engine_rig import ENOUGH, FACTS, Fleet

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
#: What a person orders of a rollout, by name and with a remark.
VERBS = [orders.pause_rollout, orders.resume_rollout, orders.advance_rollout, orders.retry_rollout, orders.undo_rollout]
#: Needs no reason: it is what it was ordered to be.
SILENT = {RolloutState.RUNNING, RolloutState.SCHEDULED}
#: Devices are asked only in these.
ASKED_IN = {RolloutState.RUNNING, RolloutState.FINISHED, RolloutState.LIVE}
#: Nothing is asked of anybody any more.
TAKEN_BACK = {RolloutState.FAILED, RolloutState.ABORTED, RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK}


class Commands(RolloutRules):
    """A small fleet with everything that can happen to it, in any order and more than once."""

    most_rollouts = 3
    size = 4

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Fleet(Path(self.folder.name), size=self.size)
        self.fleet.enrol("too-small", facts=msgspec.structs.replace(FACTS, memory_bytes=1))
        self.passed: set[tuple[str, int]] = set()
        self.pinned: set[str] = set()
        self.last: dict[str, str] = {}
        #: What was looked at of the news, and what state each rollout was in by then.
        self.seen = 0
        self.stood: dict[str, str] = {}
        #: Of rollouts that are finished: how many devices each wave had lost when it was looked at last.
        self.lost: dict[str, list[int]] = {}

    def teardown(self) -> None:
        """In the end nobody acts any more: every rollout has ended, or waits for a person and says why."""
        try:
            self._thaw()
            for _ in range(20):
                if not any(self.fleet.rollout(one).state in BY_ITSELF for one in self.rollouts):
                    break
                self.fleet.wait(timedelta(minutes=6), step=GLANCE)
            self.the_promises_hold()
            for rollout_id in self.rollouts:
                rollout = self.fleet.rollout(rollout_id)
                waiting = waits_for(rollout.state)
                assert waiting is None or waiting.people, rollout
                assert rollout.reason
            self._never_more_at_it_than_the_policy_says()
        finally:
            self.fleet.close()
            STORES.forget(self.folder.name)
            self.folder.cleanup()

    # -- what happens

    @rule(shown=st.booleans())
    def everybody_commits(self, shown) -> None:
        """With a trial that went well; their windows come, or do not."""
        if shown:
            self.fleet.show_all()
        for installation in self._known():
            if installation.state in OPEN_OFFERS:
                self.fleet.commit(installation.device_id, shown=False, installation=installation, run=False)
        self.fleet.run()

    @initialize(away=st.booleans())
    def somebody_is_away(self, away) -> None:
        """And every wave passes without it: it comes late, if it comes."""
        self.the_promises_hold()  # until now
        if away:
            self.fleet.go(self.fleet.ids[-1])
            for _ in range(2):
                self.everybody_commits(shown=True)
                self.wait(minutes=3)

    @precondition(lambda self: any(one.state is S.PENDING for one in self._known()))
    @rule(data=st.data(), end=ENDS)
    def come_and_end_badly(self, data, end) -> None:
        """A device that was not asked yet, because it was away."""
        one = data.draw(st.sampled_from([one for one in self._known() if one.state is S.PENDING]))
        self.fleet.come(one.device_id)
        (now,) = [other for other in self._known() if other.id == one.id]
        if now.state in OPEN_OFFERS:
            self.fleet.say(one.device_id, end[0], reason=end[1], installation=now)

    @initialize(device=st.none() | DEVICES)
    def somebody_is_pinned(self, device) -> None:
        self.the_promises_hold()  # until now
        if device is not None:
            self.pin(device)

    @rule(data=st.data(), times=st.integers(1, 2), shown=st.booleans())
    def commit(self, data, times, shown) -> None:
        """With a trial that went well; its windows come, or do not."""
        installation = self._an_offer(data)
        for _ in range(times):
            self.fleet.commit(installation.device_id, installation=installation, shown=shown)

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

    @rule(data=st.data())
    def fall_back(self, data) -> None:
        """A device that has the model runs something else: an incident was opened."""
        holding = [one for one in self._known() if one.state in HOLDING]
        if holding:
            about = data.draw(st.sampled_from(holding))
            with self.fleet.database.write() as connection:
                told = {"detail": "fell back"}
                events.append(connection, EventKind.INSTALLATION_REGRESSED, about.id, told, self.fleet.now)
            self.fleet.run()

    @rule(data=st.data(), verb=st.sampled_from(VERBS))
    def order(self, data, verb) -> None:
        self.fleet.now += timedelta(milliseconds=1)
        by = self.fleet.me("seen by hand")
        with contextlib.suppress(ConflictError, InputError):
            begun = verb(self.fleet.database, data.draw(st.sampled_from(self.rollouts)), by)
            if begun is not None and begun not in self.rollouts:
                self.rollouts.append(begun)
        self.fleet.run()

    @rule(device=DEVICES)
    def pin(self, device) -> None:
        pin = Pin(
            device_id=device,
            deployment=None,
            digest=None,
            reason="",
            pinned_by="me",
            pinned_at=self.fleet.now,
            until=None,
        )
        targets.set_pin(self.fleet.database, pin)
        self.pinned.add(device)
        self.fleet.run()

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data) -> None:
        device = data.draw(st.sampled_from(sorted(self.pinned)))
        targets.remove_pin(self.fleet.database, device, None, removed_by="me", now=self.fleet.now)
        self.pinned.discard(device)
        self.fleet.run()

    @rule()
    def freeze(self) -> None:
        with contextlib.suppress(ConflictError):
            rollout_freeze.freeze(self.fleet.database, by="me", remark="", now=self.fleet.now)

    @rule()
    def thaw(self) -> None:
        self._thaw()
        self.fleet.run()

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
        members = {rollout_id: self.fleet.attempts(rollout_id) for rollout_id in self.rollouts}
        by_id = {one.id: one for parts in members.values() for one in parts}
        self._no_offer_where_none_may_be(by_id)
        self._nobody_is_asked_twice()
        self._nothing_is_wanted_but_open_offers_and_proven_models(by_id)
        self._one_offer_at_a_time(by_id)
        for rollout_id, parts in members.items():
            waves = self.fleet.waves(rollout_id)
            self._a_wave_is_asked_after_the_one_before_passed(waves, parts)
            self._a_passed_wave_has_proof(waves, parts)
            self._counters_are_what_they_count(waves, parts)
            self._who_stands_still_says_why(self.fleet.rollout(rollout_id), parts)
            self._a_finished_rollout_that_loses_more_is_judged_by_it(self.fleet.rollout(rollout_id), waves)
        self._what_is_kept_of_devices_is_true()

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
                fine = {S.COMMITTED, S.HEALTHY, S.REGRESSED, *OPEN_OFFERS}
                assert behind.state in fine or self._turned_away_by_itself(behind.id), behind.state

    def _one_offer_at_a_time(self, by_id) -> None:
        offers = Counter(one.device_id for one in by_id.values() if one.state in OPEN_OFFERS)
        assert all(count == 1 for count in offers.values())

    def _a_wave_is_asked_after_the_one_before_passed(self, waves, parts) -> None:
        for one in parts:
            if one.offered_at is not None:
                assert all(_has_passed(wave) for wave in waves[: one.wave])

    def _a_passed_wave_has_proof(self, waves, parts) -> None:
        for wave in waves:
            seen = (wave.rollout_id, wave.position) in self.passed
            last = wave.position + 1 == len(waves)
            if not _has_passed(wave) or (seen and last):
                continue  # after the last wave, late devices may join it and fail
            self.passed.add((wave.rollout_id, wave.position))
            if wave.override is not None:
                assert wave.override["remark"]
                continue
            policy = self.fleet.rollout(wave.rollout_id).policy
            asked = [one for one in parts if one.wave == wave.position and one.offered_at]
            counted = [one for one in asked if one.state not in {S.SUPERSEDED, S.RETRIED}]
            proven = [one for one in counted if _went_well(one.evidence, policy)]
            assert proven
            assert wave.bakes_since is not None
            assert len(proven) >= policy.min_success * len(counted)
            shown = wave.verdict["evidence"]["sums"]["canary"]
            rows = shown.get("since", {}).get("rows", 0)
            assert rows >= policy.health.min_rows, "installed, and not seen to be healthy"

    def _counters_are_what_they_count(self, waves, parts) -> None:
        for wave in waves:
            mine = [one for one in parts if one.wave == wave.position and one.state is not S.RETRIED]
            states = Counter(one.state for one in mine)
            again = sum(one.state is S.PENDING and one.attempt > 1 for one in mine)
            assert wave.size == states.total()
            assert wave.offered == states.total() - states[S.PENDING] - states[S.SUPERSEDED] + again
            assert wave.committed == states[S.COMMITTED] + states[S.HEALTHY]
            assert wave.failed == sum(states[one] for one in (S.FAILED, S.REJECTED, S.ROLLED_BACK, S.TIMED_OUT))
            assert wave.inconclusive == states[S.INCONCLUSIVE]
            assert wave.regressed == states[S.REGRESSED]

    def _who_stands_still_says_why(self, rollout, parts) -> None:
        assert (rollout.reason == "") == (rollout.state in SILENT), rollout
        assert (rollout.finished_at is None) == (rollout.state in OPEN)
        if rollout.state in TAKEN_BACK:
            assert not [one for one in parts if one.state in OPEN_OFFERS], "an offer outlived its rollout"

    def _no_offer_where_none_may_be(self, by_id) -> None:
        """Neither of a rollout that asks nobody, nor to a pinned device, which keeps what it has, nor where it misfits."""
        news = self.fleet.events(EventKind.INSTALLATION_CHANGED, EventKind.ROLLOUT_CHANGED)
        for one in news:
            if one.id <= self.seen:
                continue
            self.seen = one.id
            if one.kind == EventKind.ROLLOUT_CHANGED:
                self.stood[one.subject] = one.data["state"]
                continue
            before, after = self.last.get(one.subject), one.data["state"]
            self.last[one.subject] = after
            if after == S.OFFERED:
                assert self.stood[one.data["rollout"]] in ASKED_IN, one
            if one.data["device"] in self.pinned:
                assert after != S.OFFERED, one
                assert before not in HOLDING or after != S.ROLLED_BACK, one
        assert "too-small" not in {one.device_id for one in by_id.values()}

    def _a_finished_rollout_that_loses_more_is_judged_by_it(self, rollout, waves) -> None:
        before = self.lost.pop(rollout.id, None)
        if rollout.state is not RolloutState.FINISHED:
            return
        self.lost[rollout.id] = [wave.failed + wave.regressed for wave in waves]
        for wave, was in zip(waves, before or self.lost[rollout.id], strict=True):
            lost, ended = wave.failed + wave.regressed, wave.committed + wave.failed + wave.inconclusive
            if lost > was and ended >= min(rollout.policy.min_devices, wave.size):
                assert lost <= rollout.policy.max_failure * wave.offered, wave

    def _what_is_kept_of_devices_is_true(self) -> None:
        """Who can be asked is kept with the installations; and what is to be taken back was."""
        with self.fleet.database.read() as connection:
            assert not withdrawals.marked(connection, limit=1)
            rows = connection.execute(select(tables.installations.c["device_id", "state", "reach"])).all()
            known = {one.id: one for one in devices.some(connection, [*self.fleet.ids, "too-small"])}
        for device_id, state, reach in rows:
            device = known[device_id]
            online = device.presence is Presence.ONLINE
            assert state not in FOLLOWED or reach == (Reach.READY if online else Reach.AWAY), device

    def _never_more_at_it_than_the_policy_says(self) -> None:
        """At no moment of the whole course."""
        at_it: dict[str, set[str]] = defaultdict(set)
        most = {one: self.fleet.rollout(one).policy.max_in_flight for one in self.rollouts}
        for one in self.fleet.events(EventKind.INSTALLATION_CHANGED):
            mine = at_it[one.data["rollout"]]
            (mine.add if one.data["state"] in IN_FLIGHT else mine.discard)(one.subject)
            limit = most[one.data["rollout"]]
            assert limit is None or len(mine) <= limit, mine

    # -- looking

    def _thaw(self) -> None:
        with contextlib.suppress(ConflictError):
            rollout_freeze.thaw(self.fleet.database, by="me", remark="", now=self.fleet.now)

    def _an_offer(self, data) -> Installation:
        """An installation that a device was asked for, an open one if there is any."""
        known = self._known()
        return data.draw(st.sampled_from([one for one in known if one.state in OPEN_OFFERS] or known))

    def _known(self) -> list[Installation]:
        return [one for rollout_id in self.rollouts for one in self.fleet.attempts(rollout_id)]

    def _turned_away_by_itself(self, installation_id: str) -> bool:
        """Whether the device said on its own that it turned to something newer."""
        return any(
            one.data["installation"] == installation_id and one.data["state"] == UpdateState.SUPERSEDED
            for one in self.fleet.events(EventKind.REPORT_RECEIVED)
        )


def _went_well(trial: Proof, policy: Policy) -> bool:
    return trial.committed and trial.errors == 0 and trial.inferences >= policy.trial_inferences


def _has_passed(wave: rollouts.Wave) -> bool:
    """By proof, or by the word of a person that is written down."""
    return wave.override is not None or (wave.verdict is not None and wave.verdict["verdict"] == "pass")


def test_whatever_happens_the_commands_keep_their_promises_and_every_rollout_ends_or_waits_for_a_person():
    run(Commands, examples=20, steps=20)


class ManyDevices(Commands):
    """The same with two hundred devices, of which some are held back as control."""

    size = 200


@pytest.mark.long
def test_whatever_happens_to_two_hundred_devices_no_promise_is_broken():
    run(ManyDevices, examples=2, steps=12)
