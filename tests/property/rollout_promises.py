"""What the engine promises of everything that it commands, whatever devices, people and the clock do.

Stated on the commands, that is on every change of what a device shall run: the state alone could look
right while a device was asked twice or too early. What happens meanwhile is `test_rollout_commands`'s.
"""

from collections import Counter, defaultdict

from hypothesis.stateful import invariant
from sqlalchemy import select

from edgeops.protocol.messages import Presence, UpdateState
from edgeops.rollout.blessing import Demand, Outcome
from edgeops.rollout.evidence import Proof
from edgeops.rollout.installation import HOLDING, IN_FLIGHT, InstallationState, is_final
from edgeops.rollout.installation import OPEN as OPEN_OFFERS
from edgeops.rollout.policy import Policy
from edgeops.rollout.rollout import OPEN, UNBEGUN, RolloutState
from fleet_server.db import devices, rollouts, tables, withdrawals
from fleet_server.db.events import EventKind
from fleet_server.db.installations import Installation
from fleet_server.db.reach import FOLLOWED, Reach
from tests.property.rollout_rules import RolloutRules

S = InstallationState
#: Needs no reason: it is what it was ordered to be.
SILENT = UNBEGUN - {RolloutState.AWAITING_BLESSING} | {RolloutState.RUNNING}
#: Devices are asked only in these.
ASKED_IN = {RolloutState.RUNNING, RolloutState.FINISHED, RolloutState.LIVE}
#: Nothing is asked of anybody any more.
TAKEN_BACK = {
    RolloutState.DENIED,
    RolloutState.FAILED,
    RolloutState.ABORTED,
    RolloutState.ROLLING_BACK,
    RolloutState.ROLLED_BACK,
}


class Promised(RolloutRules):
    """Rollouts whose every command is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: set[tuple[str, int]] = set()
        self.pinned: set[str] = set()
        self.last: dict[str, str] = {}
        self.unfit = {"too-small"}
        self.distrusted: set[str] = set()
        #: What was looked at of the news, and what state each rollout was in by then.
        self.seen = 0
        self.stood: dict[str, str] = {}
        #: While four eyes are demanded: the rollouts that had begun before.
        self.begun_before: set[str] | None = None
        #: Rollouts to which somebody said yes who did not begin them.
        self.approved: set[str] = set()
        #: What a device has blessed by then; all of them are of one class.
        self.blessed: set[str] = set()
        #: Of rollouts that are finished: how many devices each wave had lost when it was looked at last.
        self.lost: dict[str, list[int]] = {}

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
                if wanted.installation is None:
                    continue  # what it said that it ran, where nothing is proven any more
                behind = by_id[wanted.installation]
                assert behind.digest == wanted.digest
                fine = {S.COMMITTED, S.HEALTHY, S.REGRESSED, *OPEN_OFFERS}
                assert behind.state in fine or self._turned_away_by_itself(behind.id), behind.state

    def _one_offer_at_a_time(self, by_id) -> None:
        offers = Counter(one.device_id for one in by_id.values() if one.state in OPEN_OFFERS)
        assert all(count == 1 for count in offers.values())
        assert not any(one.device_id in self.gone for one in by_id.values() if not is_final(one.state))

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
            rollout = self.fleet.rollout(wave.rollout_id)
            if wave.override is not None:
                assert wave.override["remark"]
                assert seen or self.begun_before is None or wave.override["by"] != rollout.created_by, "two eyes"
                continue
            policy = rollout.policy
            asked = [one for one in parts if one.wave == wave.position and one.offered_at]
            counted = [one for one in asked if one.state not in {S.SUPERSEDED, S.RETRIED}]
            if wave.bakes_since is None:
                assert last
                assert wave.position > 0
                assert waves[wave.position - 1].override is None, "nobody was asked, and nothing was proven before"
                assert all(one.offered_at >= wave.finished_at for one in counted)
                continue
            proven = [one for one in counted if _went_well(one.evidence, policy)]
            assert proven
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
        """Neither of a rollout that asks nobody, nor to who is pinned, unfit, not believed or gone.

        Nor of one that lacks the yes of another person and had not begun before four eyes were demanded. Who is pinned
        keeps what it has, too. Nor before a device blessed the model, where the rollout demands that.
        """
        news = self.fleet.events(EventKind.INSTALLATION_CHANGED, EventKind.ROLLOUT_CHANGED, EventKind.BENCHMARK_ENDED)
        for one in news:
            if one.id <= self.seen:
                continue
            self.seen = one.id
            if one.kind == EventKind.ROLLOUT_CHANGED:
                self.stood[one.subject] = one.data["state"]
                continue
            if one.kind == EventKind.BENCHMARK_ENDED:
                if one.data["outcome"] == Outcome.BLESSED:
                    self.blessed.add(one.data["digest"])
                continue
            before, after = self.last.get(one.subject), one.data["state"]
            self.last[one.subject] = after
            if after == S.OFFERED:
                assert self.stood.get(one.data["rollout"]) in ASKED_IN, one
                assert one.data["device"] not in self.pinned | self.unfit | self.distrusted | self.gone, one
                rollout = self.fleet.rollout(one.data["rollout"])
                is_demanded = rollout.policy.require_blessing is not Demand.NONE
                assert not is_demanded or rollout.digest in self.blessed, f"unblessed: {one}"
                if self.begun_before is not None:
                    assert one.data["rollout"] in self.begun_before | self.approved, f"two eyes: {one}"
            if one.data["device"] in self.pinned:
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
            known = {one.id: one for one in devices.some(connection, [*self.fleet.ids, *self.gone, "too-small"])}
        for device_id, state, reach in rows:
            assert state not in FOLLOWED or reach == _reach(known[device_id]), known[device_id]

    def never_more_at_it_than_the_policy_says(self) -> None:
        """At no moment of the whole course."""
        at_it: dict[str, set[str]] = defaultdict(set)
        most = {one: self.fleet.rollout(one).policy.max_in_flight for one in self.rollouts}
        for one in self.fleet.events(EventKind.INSTALLATION_CHANGED):
            mine = at_it[one.data["rollout"]]
            (mine.add if one.data["state"] in IN_FLIGHT else mine.discard)(one.subject)
            limit = most[one.data["rollout"]]
            assert limit is None or len(mine) <= limit, mine

    # -- looking

    def _known(self) -> list[Installation]:
        return [one for rollout_id in self.rollouts for one in self.fleet.attempts(rollout_id)]

    def _turned_away_by_itself(self, installation_id: str) -> bool:
        """Whether the device said on its own that it turned to something newer."""
        return any(
            one.data["installation"] == installation_id and one.data["state"] == UpdateState.SUPERSEDED
            for one in self.fleet.events(EventKind.REPORT_RECEIVED)
        )


def _reach(device: devices.Device) -> Reach:
    if device.removed_at is not None:
        return Reach.OUT
    if device.presence is not Presence.ONLINE:
        return Reach.AWAY
    return Reach.OUT if device.quarantined else Reach.READY


def _went_well(trial: Proof, policy: Policy) -> bool:
    return trial.committed and trial.errors == 0 and trial.inferences >= policy.trial_inferences


def _has_passed(wave: rollouts.Wave) -> bool:
    """By proof, or by the word of a person that is written down."""
    return wave.override is not None or (wave.verdict is not None and wave.verdict["verdict"] == "pass")
