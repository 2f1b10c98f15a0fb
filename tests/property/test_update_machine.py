"""The safety sentences of the update machine, stated on the commands it gives.

A device is played: slow steps end in any way the table allows, desired states come at any moment, the agent
dies between any two borders. What the machine commands is checked against what the world has shown so far.
"""

from datetime import timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgeops import limits
from edgeops.protocol.messages import Evidence, Reason, UpdateState
from edgeops.update import events, machine
from edgeops.update.machine import Command
from edgeops.update.update import RESTING, WAITS, Update, Wanted, final_report, report_key

DIGESTS = [f"sha256:{letter * 64}" for letter in "abc"]
GOOD = Evidence(inferences=limits.TRIAL_INFERENCES, errors=0)
BAD = Evidence(inferences=3, errors=1)


class DiedError(Exception):
    """kill -9, between two borders."""


class PlayedDevice(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk = msgspec.json.encode(Update())
        self.update = Update()
        #: The slow step or the trial that runs.
        self.doing: Command | None = None
        self.revision = 0
        self.active: str | None = None
        #: What it holds, by name; its number, and what was in the ones before it.
        self.spool: dict[str, UpdateState] = {}
        self.spool_number = 1
        self.gone: set[str] = set()
        #: What the world has shown about the update under way.
        self.verified: set[str] = set()
        self.listed_now = False
        self.was_acknowledged = False
        self.begun: list[str] = []
        self.boots_in_trial = 0
        self.dies_in = -1
        #: Reports of what was begun earlier: their acks are no proof of contact for what is under way.
        self.earlier: set[str] = set()

    # -- the device, as device_agent.updates does it ---------------------------------------

    def border(self) -> None:
        self.dies_in -= 1
        if self.dies_in == 0:
            raise DiedError

    def feed(self, event) -> None:
        update, command = machine.step(self.update, event)
        self.border()
        if isinstance(event, events.Started | events.Lost | events.AlreadyActive):
            self.listed_now = self.was_acknowledged = False
            self.boots_in_trial = 0
            self.earlier |= set(self.spool)
            self.begun.append(f"gas/{update.wanted.epoch}.{update.wanted.revision}.{update.losses}/final")
        self.disk = msgspec.json.encode(update)
        self.update = update
        self.border()
        self.carry_out(command)

    def carry_out(self, command: Command) -> None:  # noqa: C901 - one case a command
        if command is not Command.NONE:
            self.doing = None
        digest = self.update.wanted.digest if self.update.wanted else None
        match command:
            case Command.START_TRIAL:
                assert digest in self.verified, "a trial of unverified bytes"
                assert self.listed_now, "a trial without asking TUF right before"
                assert self.boots_in_trial <= limits.TRIAL_BOOTS
                self.doing = command
            case Command.SEND_EVIDENCE:
                assert self.update.evidence is not None
                assert self.update.evidence.errors == 0
                assert report_key("gas", self.update) not in self.earlier
                self.spool.setdefault(report_key("gas", self.update), self.update.state)
                self.border()
                self.feed(events.EvidenceSpooled(len(self.spool)))
                self.doing = command
            case Command.COMMIT:
                assert digest == self.active or (self.was_acknowledged and digest in self.verified and self.listed_now)
                self.active = digest
                self.border()
                self.feed(events.Settled())
            case Command.ROLL_BACK:
                self.border()
                self.feed(events.Settled())
            case Command.CLEAR:
                self.active = None
            case Command.REPORT:
                report = final_report("gas", self.update)
                assert report is not None
                key = report_key("gas", self.update)
                assert self.spool.setdefault(key, report.state) == report.state
                self.border()
                self.feed(events.Reported(str(self.spool_number)))
            case Command.TAKE_NEXT:
                if self.update.next is not None:
                    self.feed(machine.begin(self.update.next, active=self.active))
            case Command.FETCH | Command.VERIFY | Command.STAGE | Command.PROBE | Command.CHECK_LISTED | Command.WAIT:
                self.doing = command
            case Command.NONE:
                pass

    def try_feed(self, event) -> None:
        try:
            self.feed(event)
        except DiedError:
            self.boot()

    def boot(self, *, dies_in: int = -1) -> None:
        """A new process: all it knows is the disk."""
        self.update = msgspec.json.decode(self.disk, type=Update)
        self.doing = None
        self.dies_in = dies_in
        if self.update.state is UpdateState.TRIAL:
            self.boots_in_trial += 1
            self.feed(machine.boot(self.update))
        elif (unheard := machine.loss_of_report(self.update, spool=str(self.spool_number))) is not None:
            self.feed(unheard)
        else:
            self.carry_out(machine.resume(self.update))

    # -- the world -----------------------------------------------------------------------------

    @rule(digest=st.sampled_from([*DIGESTS, None]), installation=st.integers(0, 2), dies_in=st.integers(-1, 6))
    def a_desired_state_comes(self, digest, installation, dies_in) -> None:
        self.revision += 1
        wanted = Wanted(
            epoch=1,
            revision=self.revision,
            target=None if digest is None else f"models/{digest[-3:]}/1-int8.json",
            digest=digest,
            installation=f"inst-{installation}",
        )
        self.dies_in = dies_in
        event = machine.desired(self.update, wanted, active=self.active)
        assert event is not None, "a newer revision always means something"
        self.try_feed(event)

    @precondition(lambda self: self.update.mark > (0, 0))
    @rule(digest=st.sampled_from([*DIGESTS, None]), back=st.integers(0, 2))
    def an_old_desired_state_comes_again(self, digest, back) -> None:
        epoch, revision = self.update.mark
        wanted = Wanted(epoch=epoch, revision=revision - back, target=digest, digest=digest, installation=None)
        assert machine.desired(self.update, wanted, active=self.active) is None

    @precondition(lambda self: self.doing is not None)
    @rule(steps=st.integers(1, 9), dies_in=st.integers(-1, 30))
    def all_goes_well_for_a_while(self, steps, dies_in) -> None:
        for number in range(steps):
            death = dies_in if number == steps - 1 else -1
            if self.doing in _OUTCOMES:
                self.the_step_ends_with(_OUTCOMES[self.doing][0], death)
            elif self.doing is Command.START_TRIAL:
                self.the_trial_goes_on(GOOD, 0, death)
            elif self.doing is Command.SEND_EVIDENCE:
                self.the_ack_comes(death)
            elif self.doing is Command.WAIT:
                self.time_passes()

    @precondition(lambda self: self.doing in _OUTCOMES)
    @rule(data=st.data(), dies_in=st.integers(-1, 6))
    def the_step_ends(self, data, dies_in) -> None:
        assert self.doing is not None
        self.the_step_ends_with(data.draw(st.sampled_from(_OUTCOMES[self.doing])), dies_in)

    def the_step_ends_with(self, event, dies_in) -> None:
        digest = self.update.wanted.digest
        if isinstance(event, events.Verified):
            self.verified.add(digest)
        if isinstance(event, events.FetchFailed):
            event = machine.fetch_failure(self.update, "late")
        self.listed_now = isinstance(event, events.Listed)
        self.dies_in = dies_in
        self.try_feed(event)

    @precondition(lambda self: self.doing is Command.WAIT)
    @rule()
    def time_passes(self) -> None:
        self.dies_in = -1
        self.carry_out(machine.resume(self.update))

    @precondition(lambda self: self.update.state is UpdateState.TRIAL)
    @rule(evidence=st.sampled_from([GOOD, BAD]), quiet_min=st.sampled_from([0, 60]), dies_in=st.integers(-1, 6))
    def the_trial_goes_on(self, evidence, quiet_min, dies_in) -> None:
        verdict = machine.trial_verdict(self.update, evidence, detail="boom", quiet=timedelta(minutes=quiet_min))
        self.dies_in = dies_in
        if verdict is not None:
            self.try_feed(verdict)

    @precondition(lambda self: self.update.state is UpdateState.TRIAL and self.update.evidence_seq is not None)
    @rule(dies_in=st.integers(-1, 6))
    def the_ack_comes(self, dies_in) -> None:
        self.was_acknowledged = True
        self.dies_in = dies_in
        self.try_feed(events.Acknowledged())

    @rule()
    def the_agent_dies(self) -> None:
        self.boot()

    @precondition(lambda self: self.update.state is not UpdateState.TRIAL)
    @rule(dies_in=st.integers(-1, 6))
    def the_spool_is_lost_and_the_next_start_dies(self, dies_in) -> None:
        self.lose_spool()
        try:
            self.boot(dies_in=dies_in)
        except DiedError:
            self.boot()

    @rule()
    def the_spool_is_lost(self) -> None:
        self.lose_spool()
        self.boot()

    def lose_spool(self) -> None:
        self.gone |= self.spool.keys()
        self.spool.clear()
        self.spool_number += 1

    @precondition(lambda self: self.update.state is UpdateState.COMMITTED and self.update.wanted.digest == self.active)
    @rule()
    def the_slot_is_damaged(self) -> None:
        if self.update.reported:
            self.verified.discard(self.active)
            self.active = None
            self.dies_in = -1
            self.feed(events.Lost())

    @rule(dies_in=st.integers(-1, 6))
    def the_active_model_takes_the_agent_down(self, dies_in) -> None:
        event = machine.fall(self.update, active=self.active)
        if event is not None:
            self.dies_in = dies_in
            self.try_feed(event)
            if self.active in self.update.fallen:
                self.active = None

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def the_disk_says_what_the_device_knows(self) -> None:
        assert msgspec.json.decode(self.disk, type=Update) == self.update

    @invariant()
    def only_verified_models_answer(self) -> None:
        assert self.active is None or self.active in self.verified

    @invariant()
    def what_fell_does_not_answer(self) -> None:
        assert self.active not in self.update.fallen

    @invariant()
    def every_installation_but_the_last_has_its_final_report(self) -> None:
        assert len(set(self.begun)) == len(self.begun)
        assert all(key in self.spool or key in self.gone for key in self.begun[:-1])

    @invariant()
    def no_end_is_a_wait_and_no_trial_waits(self) -> None:
        if self.update.state in RESTING or self.update.state is UpdateState.TRIAL:
            assert self.update.reason not in WAITS

    @invariant()
    def a_deployment_at_rest_owes_nothing(self) -> None:
        if self.update.state in RESTING and self.update.reported and self.begun:
            is_past = self.update.state is UpdateState.IDLE  # another one was wanted since: nothing
            assert self.begun[-1] in (self.spool.keys() | self.gone if is_past else self.spool)


_OUTCOMES = {
    Command.FETCH: [
        events.Fetched(),
        events.FetchFailed("late"),
        events.NoContact(),
        events.Deferred(Reason.HELD, "x"),
        events.Refused(Reason.NOT_LISTED, "x"),
        events.Failed(Reason.DISK, "x"),
    ],
    Command.VERIFY: [events.Verified(), events.FetchFailed("gone"), events.Refused(Reason.DIGEST, "x")],
    Command.STAGE: [
        events.Staged(),
        events.Deferred(Reason.WINDOW, "x"),
        events.FetchFailed("gone"),
        events.Failed(Reason.DISK, "x"),
    ],
    Command.PROBE: [events.ProbePassed(), events.Deferred(Reason.WINDOW, "x"), events.Failed(Reason.PROBE, "x")],
    Command.CHECK_LISTED: [
        events.Listed(),
        events.NoContact(),
        events.Deferred(Reason.HELD, "x"),
        events.Refused(Reason.WITHDRAWN, "x"),
    ],
}

PlayedDevice.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_the_commands_keep_every_promise = PlayedDevice.TestCase
