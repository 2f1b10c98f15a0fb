"""Whatever devices, people and the clock do to rollouts, in any order: the engine keeps `rollout_promises`.

Chance alone ends most rollouts early. Hence some rules lead many devices at once through whole waves, to a proof, to a
failure in mid wave, or past the end; all others may come in between.
"""

import contextlib
import tempfile
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from edgeops.digest import digest_raw
from edgeops.errors import ConflictError, InputError
from edgeops.protocol.messages import Benchmarked, DeploymentState, Presence, Reason, UpdateState
from edgeops.rollout.blessing import Demand
from edgeops.rollout.health.device import Period
from edgeops.rollout.health.wave import Shown
from edgeops.rollout.installation import HOLDING, InstallationState
from edgeops.rollout.installation import OPEN as OPEN_OFFERS
from edgeops.rollout.pins import Pin
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import PASSED, UNBEGUN, RolloutState, waits_for
from fleet_server import blessings, four_eyes, rollout_freeze, targets
from fleet_server import rollout_orders as orders
from fleet_server.db import benchmarks, devices, events
from fleet_server.db.events import EventKind
from fleet_server.db.installations import Installation
from fleet_server.db.rollouts import Rollout
from fleet_server.engine import Engine
from tests.property.rollout_promises import Promised
from tests.property.rollout_rules import BAKED, BY_ITSELF, DEVICES, GLANCE, POLICIES, SOON, WAVES, RolloutRules, run
from tests.stores import STORES
from tests.unit.engine_rig import ENOUGH, FACTS, Fleet, digest_of

S = InstallationState
BAD_ENDS = st.sampled_from(
    [
        (UpdateState.REJECTED, Reason.NOT_LISTED),
        (UpdateState.FAILED, Reason.GOLDEN),
        (UpdateState.ROLLED_BACK, Reason.INFERENCE),
        (UpdateState.ROLLED_BACK, Reason.INCONCLUSIVE),
    ]
)
ENDS = BAD_ENDS | st.sampled_from([(UpdateState.SUPERSEDED, Reason.NEWER), (UpdateState.FETCHING, Reason.NONE)])
#: What a person orders of a rollout, by name and with a remark.
VERBS = [orders.pause_rollout, orders.resume_rollout, orders.advance_rollout, orders.retry_rollout, orders.undo_rollout]
#: How far the first rollout has come when chance takes over.
STARTS = st.sampled_from(["barely", "unseen", "well", "badly", "regressed"])
#: How a benchmark ends.
TRIED = st.sampled_from([Reason.NONE, Reason.NONE, Reason.NONE, Reason.GOLDEN, Reason.DISK])
#: Who orders and decides.
PEOPLE = st.sampled_from(["me", "you"])
#: How a rollout is ordered that does not begin at once.
BEGINS = st.sampled_from(["draft", "needs_approval", "later"])
#: Of a new model: an error in ten inputs, where the old one had none.
FAULTY = Shown(devices=1_000, heard=1_000, before=Period(rows=1_000_000), since=Period(rows=1_000_000, errors=100_000))
TINY = msgspec.structs.replace(FACTS, memory_bytes=1)


class Commands(Promised):
    """A small fleet with everything that can happen to it, in any order and more than once."""

    most_rollouts = 3
    size = 4
    waves = (*RolloutRules.waves, ("id=dev-1,dev-2", "100%"))
    policies = (
        *RolloutRules.policies,
        Policy(bake=timedelta(0), retries=0, min_devices=2, max_failure=0.5, min_success=0.5),
        Policy(bake=timedelta(0), retries=1, require_blessing=Demand.AUTO, **SOON),
        Policy(retries=0, require_blessing=Demand.REQUIRED, **SOON, **BAKED),
    )
    #: A wave with all that may hold it up is through after so many looks.
    looks = 8

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Fleet(Path(self.folder.name), size=self.size)
        self.fleet.enrol("too-small", facts=TINY)

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
                assert rollout.reason or rollout.state in UNBEGUN
            self.never_more_at_it_than_the_policy_says()
        finally:
            self.fleet.close()
            STORES.forget(self.folder.name)
            self.folder.cleanup()

    # -- what many do together

    @rule(shown=st.booleans())
    def everybody_commits(self, shown) -> None:
        """With a trial that went well; their windows come, or do not."""
        if shown:
            self.fleet.show_all()
        self._commit_all(self._offers())
        self.fleet.run()

    @rule()
    def all_goes_well(self) -> None:
        """Wave after wave, until nothing goes on by itself; each bakes."""
        for _ in range(self.looks):
            if not self._is_any(RolloutState.RUNNING):
                break
            self.everybody_commits(shown=True)
            if not self._offers():
                self.wait(minutes=1)

    @rule()
    def all_are_there_and_it_goes_well(self) -> None:
        self._thaw()
        self._all_come()
        self.all_goes_well()

    @precondition(lambda self: self._offers())
    @rule(data=st.data(), end=BAD_ENDS, later=st.booleans())
    def one_of_all_ends_badly(self, data, end, later) -> None:
        """The others commit, so that there is something to take back; `later` = in the next wave, if there is one."""
        self.fleet.show_all()
        if later:
            self.everybody_commits(shown=True)
        offers = self._offers()
        if not offers:
            return
        bad = data.draw(st.sampled_from(offers))
        self._commit_all([one for one in offers if one is not bad])
        self.fleet.say(bad.device_id, end[0], reason=end[1], installation=bad)

    #: Listed again to be played more often.
    one_more_ends_badly = one_of_all_ends_badly

    @precondition(lambda self: self._offers())
    @rule()
    def everybody_commits_and_shows_errors(self) -> None:
        """Installed well, and wrong."""
        self._commit_all(self._offers())
        self.fleet.show_all(canary=FAULTY)
        self.fleet.run()

    @precondition(lambda self: len(self.rollouts) < self.most_rollouts)
    @rule(data=st.data(), version=st.sampled_from([1, 2]), policy=POLICIES, end=BAD_ENDS, installs=st.booleans())
    def roll_out_something_bad(self, data, version, policy, end, installs) -> None:
        """It comes as far as its second wave."""
        self.roll_out(version=version, waves=self.waves[0], policy=policy, some=False, continuous=False)
        self.everybody_commits(shown=True)
        if installs:
            self.wait(minutes=1)
            self.everybody_commits_and_shows_errors()
        elif self._offers():
            self.one_of_all_ends_badly(data, end, later=False)

    @precondition(lambda self: self._is_any(*PASSED))
    @rule(data=st.data(), all_come=st.booleans())
    def one_falls_back_after_the_end(self, data, all_come) -> None:
        """And then all come that were away, of whom some may be asked no more."""
        passed = [one for one in self.rollouts if self.fleet.rollout(one).state in PASSED]
        holding = [one for rollout_id in passed for one in self.fleet.attempts(rollout_id) if one.state in HOLDING]
        if holding:
            self._fall_back(data.draw(st.sampled_from(holding)))
        if all_come:
            self._all_come()

    #: Listed again to be played more often.
    one_more_falls_back = one_falls_back_after_the_end

    @rule()
    def everybody_tells_what_it_runs(self) -> None:
        """Which ends what is taken back."""
        for device_id in self.fleet.ids:
            self._tell(device_id)

    # -- what happens

    @initialize(data=st.data(), waves=WAVES, policy=POLICIES, how=STARTS, end=BAD_ENDS)
    def begin(self, data, waves, policy, how, end) -> None:
        """Some courses begin where all has gone well, and one device is still to come; some where one was lost."""
        if how in {"well", "regressed"}:
            self.fleet.go(self.fleet.ids[-1])
        super().begin(waves=waves, policy=policy)
        if how in {"well", "regressed"}:
            self.all_goes_well()
        if how == "regressed" and self._is_any(*PASSED):
            self.one_falls_back_after_the_end(data, all_come=False)
        if how == "unseen":
            self.everybody_commits(shown=False)
            self.wait(minutes=3)
        if how == "badly":
            self.one_of_all_ends_badly(data, end, later=data.draw(st.booleans()))

    @precondition(lambda self: len(self.rollouts) < self.most_rollouts)
    @rule(waves=WAVES, policy=POLICIES, begins=BEGINS, version=st.sampled_from([1, 2]), by=PEOPLE)
    def plan(self, waves, policy, begins, version, by) -> None:
        """A rollout that does not begin at once."""
        self.fleet.now += timedelta(milliseconds=1)
        when = {"starts_at": self.fleet.now + timedelta(minutes=5)} if begins == "later" else {begins: True}
        with contextlib.suppress(InputError):  # all of them run it, are pinned, or not what it fits
            self.rollouts.append(self.fleet.roll_out(version, waves=waves, policy=policy, created_by=by, **when))

    @rule(data=st.data(), verb=st.sampled_from([orders.submit_rollout, orders.deny_rollout]))
    def decide(self, data, verb) -> None:
        """On one that has not begun, if there is any."""
        with contextlib.suppress(ConflictError):
            verb(self.fleet.database, self._an_unbegun(data), self.fleet.me())
        self.fleet.run()

    @rule(data=st.data(), by=PEOPLE)
    def approve(self, data, by) -> None:
        """The same; also who began it."""
        with contextlib.suppress(ConflictError):
            self._approve(self._an_unbegun(data), by)
        self.fleet.run()

    @precondition(lambda self: self._is_any(RolloutState.AWAITING_APPROVAL))
    @rule()
    def somebody_else_approves(self) -> None:
        """All that waits for that."""
        for one in self._awaiting():
            self._approve(one.id, "you" if one.created_by == "me" else "me")
        self.fleet.run()

    @precondition(lambda self: len(self.rollouts) < self.most_rollouts)
    @rule(policy=POLICIES, version=st.sampled_from([1, 2]), by=PEOPLE)
    def one_person_begins_and_approves(self, policy, version, by) -> None:
        """Four eyes are demanded while it waits for its time."""
        self.plan(waves=self.waves[0], policy=policy, begins="later", version=version, by=by)
        if self.begun_before is None:
            self.demand_four_eyes()
        self.wait(minutes=6)
        for one in self._awaiting():
            with contextlib.suppress(ConflictError):
                self._approve(one.id, one.created_by)
        self.fleet.run()

    @precondition(lambda self: self._is_any(RolloutState.RUNNING, RolloutState.PAUSED))
    @rule()
    def one_person_begins_and_overrides(self) -> None:
        """Four eyes are demanded while it runs."""
        if self.begun_before is None:
            self.demand_four_eyes()
        for rollout in map(self.fleet.rollout, self.rollouts):
            by = orders.By(name=rollout.created_by, now=self.fleet.now, remark="seen by hand")
            with contextlib.suppress(ConflictError):
                orders.advance_rollout(self.fleet.database, rollout.id, by)
        self.fleet.run()

    @precondition(lambda self: self.begun_before is None)
    @rule()
    def demand_four_eyes(self) -> None:
        four_eyes.demand_four_eyes(self.fleet.database, by="boss", remark="", now=self.fleet.now)
        self.begun_before = {one for one in self.rollouts if self.fleet.rollout(one).began_at is not None}

    @precondition(lambda self: self.begun_before is not None)
    @rule()
    def waive_four_eyes(self) -> None:
        four_eyes.waive_four_eyes(self.fleet.database, by="boss", now=self.fleet.now)
        self.begun_before = None

    @rule(device=DEVICES, fits=st.booleans())
    def change(self, device, fits) -> None:
        """The device tells that it is not what it was, and that it runs what it committed."""
        (self.unfit.discard if fits else self.unfit.add)(device)
        self._tell(device)

    @rule(device=DEVICES)
    def two_speak_in_its_name(self, device) -> None:
        self.distrusted.add(device)
        with self.fleet.database.write() as connection:
            devices.quarantine(connection, device, reason="cloned", now=self.fleet.now)
        self.fleet.run()

    @precondition(lambda self: self.distrusted)
    @rule(data=st.data())
    def release(self, data) -> None:
        device = data.draw(st.sampled_from(sorted(self.distrusted)))
        self.distrusted.discard(device)
        with self.fleet.database.write() as connection:
            devices.release(connection, device, now=self.fleet.now)
        self.fleet.run()

    @precondition(lambda self: any(one.state is S.PENDING for one in self._known()))
    @rule(data=st.data(), end=ENDS)
    def come_and_end_badly(self, data, end) -> None:
        """A device that was not asked yet, because it was away."""
        one = data.draw(st.sampled_from([one for one in self._known() if one.state is S.PENDING]))
        self.fleet.come(one.device_id)
        (now,) = [other for other in self._known() if other.id == one.id]
        if now.state in OPEN_OFFERS:
            self.fleet.say(one.device_id, end[0], reason=end[1], installation=now)

    @initialize(demanded=st.sampled_from([False, False, True]))
    def four_eyes_are_demanded(self, demanded) -> None:
        self.the_promises_hold()  # until now
        if demanded:
            self.demand_four_eyes()

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
            self._fall_back(data.draw(st.sampled_from(holding)))

    @rule(data=st.data(), verb=st.sampled_from(VERBS), name=PEOPLE)
    def order(self, data, verb, name) -> None:
        self.fleet.now += timedelta(milliseconds=1)
        by = orders.By(name=name, now=self.fleet.now, remark="seen by hand")
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

    @rule(data=st.data(), device=DEVICES, version=st.sampled_from([1, 2]), reason=TRIED)
    def a_device_tries_a_model(self, data, device, version, reason) -> None:
        """As it was asked, by the server or by a person; most bless it."""
        with self.fleet.database.write() as connection:
            known = [one for version in (1, 2) for one in benchmarks.of_digest(connection, digest_of(version))]
            waiting = [one for one in known if one.ended_at is None]
            one = data.draw(st.sampled_from(waiting)) if waiting else None
            one = one or blessings.ask(connection, device, digest_of(version), asked_by="me", now=self.fleet.now)
            told = Benchmarked(
                benchmark=one.id,
                digest=digest_raw(one.digest),
                reason=reason,
                arch=FACTS.arch,
                runtime=FACTS.runtime,
                runtime_version=FACTS.runtime_version,
            )
            blessings.take(connection, told, self.fleet.now)
        self.fleet.now += timedelta(seconds=1)
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

    # -- looking

    def _thaw(self) -> None:
        with contextlib.suppress(ConflictError):
            rollout_freeze.thaw(self.fleet.database, by="me", remark="", now=self.fleet.now)

    def _approve(self, rollout_id: str, name: str) -> None:
        orders.approve_rollout(self.fleet.database, rollout_id, orders.By(name=name, now=self.fleet.now))
        if name != self.fleet.rollout(rollout_id).created_by:
            self.approved.add(rollout_id)

    def _awaiting(self) -> list[Rollout]:
        known = [self.fleet.rollout(rollout_id) for rollout_id in self.rollouts]
        return [one for one in known if one.state is RolloutState.AWAITING_APPROVAL]

    def _an_unbegun(self, data) -> str:
        """A rollout that has not begun, if there is any."""
        unbegun = [one for one in self.rollouts if self.fleet.rollout(one).state in UNBEGUN]
        return data.draw(st.sampled_from(unbegun or self.rollouts))

    def _an_offer(self, data) -> Installation:
        """An installation that a device was asked for, an open one if there is any."""
        return data.draw(st.sampled_from(self._offers() or self._known()))

    def _offers(self) -> list[Installation]:
        return [one for one in self._known() if one.state in OPEN_OFFERS]

    def _is_any(self, *states: RolloutState) -> bool:
        return any(self.fleet.rollout(one).state in states for one in self.rollouts)

    # -- doing

    def _all_come(self) -> None:
        with self.fleet.database.read() as connection:
            known = devices.some(connection, self.fleet.ids)
        for one in known:
            if one.presence is not Presence.ONLINE:
                self.fleet.come(one.id)

    def _commit_all(self, offers: list[Installation]) -> None:
        for one in offers:
            self.fleet.commit(one.device_id, shown=False, installation=one, run=False)

    def _fall_back(self, about: Installation) -> None:
        with self.fleet.database.write() as connection:
            told = {"detail": "fell back"}
            events.append(connection, EventKind.INSTALLATION_REGRESSED, about.id, told, self.fleet.now)
        self.fleet.run()

    def _tell(self, device: str) -> None:
        """Of the facts that are true of it, and the model that it committed last and was not taken back."""
        mine = [one for one in self._known() if one.device_id == device and one.state in HOLDING]
        active = max(mine, key=lambda one: one.finished_at).digest if mine else None
        state = DeploymentState(deployment="gas", state=UpdateState.IDLE, active=active)
        self.fleet.report(device, state, facts=TINY if device in self.unfit else FACTS)


@pytest.mark.parametrize("courses", [10, pytest.param(40, marks=[pytest.mark.long, pytest.mark.timeout(1_200)])])
def test_whatever_happens_the_commands_keep_their_promises_and_every_rollout_ends_or_waits_for_a_person(courses):
    run(Commands, examples=courses, steps=20)


class ManyDevices(Commands):
    """The same with two hundred devices, of which some are held back as control."""

    most_rollouts = 2
    size = 200
    waves = (("5", "25%", "100%"), ("10%", "100%"), ("id=dev-1,dev-2", "50%", "100%"))
    policies = (
        Policy(bake=timedelta(0), retries=0, max_in_flight=60, **SOON),
        Policy(retries=1, max_in_flight=40, **SOON, **BAKED),
        Policy(retries=1, min_success=0.5, max_failure=0.5, roll_back_on_failure=False, **SOON, **BAKED),
        Policy(retries=2, rate_per_minute=60, bake=timedelta(0), retry_after=timedelta(0), **SOON),
    )
    looks = 16


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_whatever_happens_to_two_hundred_devices_no_promise_is_broken():
    run(ManyDevices, examples=6, steps=12)
