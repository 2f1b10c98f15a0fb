"""Devices played by their real update machines, a server by its real engine, and a wire that keeps no promise.

Nothing of ours is imitated but the effects: what a device does about a command is noted here, with what the world had
shown by then, and checked at once. A device dies between any two borders and knows then what was on its disk.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import msgspec

from edgeops import limits
from edgeops.protocol.messages import DeploymentState, Desired, Evidence, Reason, Report, Reported, UpdateState
from edgeops.update import events, machine
from edgeops.update.machine import Command
from edgeops.update.update import RESTING, Update, Wanted, committed, evidence_report, final_report, report_key
from fleet_server.backup.settling import settle
from fleet_server.db import devices
from fleet_server.db import events as news
from fleet_server.db.backups import Restoration
from fleet_server.db.events import EventKind
from fleet_server.engine import Engine
from fleet_server.link.records import report_data
from tests.stores import STORES, database_in, on_postgresql
from tests.unit.engine_rig import FACTS, Fleet

DEPLOYMENT = "gas"
GOOD = Evidence(inferences=limits.TRIAL_INFERENCES, errors=0)
BAD = Evidence(inferences=3, errors=1)
NEVER = -1

#: The owner's hold and a closed maintenance window: it waits, and comes back to the same step.
HELD, CLOSED = events.Deferred(Reason.HELD, "x"), events.Deferred(Reason.WINDOW, "x")
#: What may come of a slow step, the happy end first.
OUTCOMES = {
    Command.FETCH: (
        events.Fetched(),
        events.FetchFailed("late"),
        events.NoContact(),
        HELD,
        events.Refused(Reason.NOT_LISTED, "x"),
    ),
    Command.VERIFY: (events.Verified(), events.FetchFailed("gone"), events.Refused(Reason.DIGEST, "x")),
    Command.STAGE: (events.Staged(), CLOSED, HELD, events.FetchFailed("gone"), events.Failed(Reason.DISK, "x")),
    Command.PROBE: (events.ProbePassed(), CLOSED, HELD, events.Failed(Reason.GOLDEN, "x")),
    Command.CHECK_LISTED: (events.Listed(), events.NoContact(), CLOSED, HELD, events.Refused(Reason.WITHDRAWN, "x")),
}
#: The steps that may have to wait, and why.
WAITING = {
    step: waits
    for step, outcomes in OUTCOMES.items()
    if (waits := [one for one in outcomes if isinstance(one, events.Deferred)])
}
_HARMLESS_WHEN_OVER = frozenset({Command.REPORT, Command.TAKE_NEXT, Command.NONE, Command.WAIT})


class DiedError(Exception):
    """A power cut, between two borders."""


@dataclass
class World:
    """What is true of one device, whatever it remembers."""

    #: Bytes that were checked as a whole, and what was committed with the server's ack.
    verified: set[str] = field(default_factory=set)
    committed: set[str] = field(default_factory=set)
    #: Desired by the server at any time.
    asked: set[str | None] = field(default_factory=set)
    listed_now: bool = False
    acknowledged_now: bool = False
    #: Starts in the present trial.
    boots: int = 0
    #: (epoch, revision) of installations whose end is on disk.
    over: set[tuple[int, int]] = field(default_factory=set)
    #: Final reports of what has ended, on disk.
    owed: set[str] = field(default_factory=set)
    #: The final state that was reported of each, and those that are to be installed once more after damage.
    finals: dict[str, UpdateState] = field(default_factory=dict)
    #: Reports that lay in spools that are lost.
    gone: set[str] = field(default_factory=set)


class PlayedDevice:
    """One deployment of one device."""

    def __init__(self, device_id: str) -> None:
        self.id = device_id
        self.world = World()
        #: Durable: the state, the pointer, the spool, and which of its records were acknowledged.
        self.disk = msgspec.json.encode(Update())
        self.active: str | None = None
        self.previous: str | None = None
        self.spool: dict[str, Report] = {}
        self.spool_number = 1
        self.acknowledged: set[str] = set()
        #: In memory.
        self.update = Update()
        self.doing: Command | None = None
        self._dies_in = NEVER
        self._hindered_in = NEVER

    @contextmanager
    def dying_in(self, borders: int) -> Iterator[None]:
        """Lose power at the n-th border; the device starts again then."""
        self._dies_in = borders
        try:
            yield
        except DiedError:
            self.boot()
        finally:
            self._dies_in = NEVER

    @contextmanager
    def hindered_in(self, acts: int) -> Iterator[None]:
        """The n-th act fails (a full disk, say): its state is on disk, and it is taken up again later."""
        self._hindered_in = acts
        try:
            yield
        finally:
            self._hindered_in = NEVER

    def boot(self, *, fallen: bool = False) -> None:
        """A new process: all it knows is the disk; `fallen` = and that its active model ends the agent."""
        self._dies_in = NEVER
        self.update = msgspec.json.decode(self.disk, type=Update)
        self.doing = None
        fall = machine.fall(self.update, active=self.active) if fallen else None
        if fall is not None:
            self._feed(fall)
        if self.active in self.update.fallen:
            self.active = None if self.previous in self.update.fallen else self.previous
            self.previous = None
        if self.update.state is UpdateState.TRIAL:
            self.world.boots += 1
            self._feed(machine.boot(self.update))
        elif (unheard := machine.loss_of_report(self.update, spool=str(self.spool_number))) is not None:
            self._feed(unheard)
        else:
            self._carry_out(machine.resume(self.update))

    def lose_spool(self) -> None:
        """A start finds it damaged: what it held is lost, but for the end of what is installed now."""
        kept = {report_key(DEPLOYMENT, self.update)} if self.update.wanted is not None else set()
        self.world.gone |= self.spool.keys()
        self.world.owed -= self.spool.keys() - kept
        self.spool.clear()
        self.acknowledged.clear()
        self.spool_number += 1
        self.boot()

    # -- what comes over the wire

    def hear(self, desired: Desired) -> None:
        """A desired state, new or old."""
        for one in desired.deployments:
            wanted = Wanted.of(one, epoch=desired.epoch, revision=desired.revision)
            mark = self.update.mark
            event = machine.desired(self.update, wanted, active=self.active)
            if event is not None:
                assert (wanted.epoch, wanted.revision) > mark, "an older desired state was taken in"
                self._feed(event)

    def hear_ack(self, keys: set[str]) -> None:
        """The server's signed ack of these records."""
        self.acknowledged |= keys & self.spool.keys()
        update = self.update
        if update.state is UpdateState.TRIAL and update.evidence_seq is not None:
            key = report_key(DEPLOYMENT, update)
            if key in self.acknowledged:
                self.world.acknowledged_now = True
                self._feed(events.Acknowledged())

    def missing(self) -> str | None:
        """What was committed here and does not answer; as device_agent.updates says it."""
        if self.update.state is UpdateState.COMMITTED and not self.update.reported:
            return None
        missing = committed(self.update)
        return None if missing == self.active else missing

    def unsaid(self) -> list[str]:
        """Records that wait for their ack."""
        return [key for key in self.spool if key not in self.acknowledged]

    # -- what it does

    def step_ends(self, outcome: events.Event) -> None:
        """The slow step that runs comes to an end."""
        assert self.update.wanted is not None
        assert self.update.wanted.digest is not None
        if isinstance(outcome, events.Verified):
            self.world.verified.add(self.update.wanted.digest)
        if isinstance(outcome, events.FetchFailed):
            outcome = machine.fetch_failure(self.update, "late")
        self.world.listed_now = isinstance(outcome, events.Listed)
        self._feed(outcome)

    def trial_goes_on(self, evidence: Evidence, *, quiet: timedelta = timedelta(0)) -> None:
        """Real inputs, or none for a while."""
        verdict = machine.trial_verdict(self.update, evidence, detail="boom", quiet=quiet)
        if verdict is not None:
            self._feed(verdict)

    def time_passes(self) -> None:
        """What waits is taken up."""
        if self.doing is Command.WAIT:
            self._carry_out(machine.resume(self.update))

    def work(self, *, until: Command | None = None) -> None:
        """Everything goes well, up to this step, or where the server's ack is needed."""
        for _ in range(20):
            if self.doing is not None and self.doing is until:
                return
            if self.doing in OUTCOMES:
                self.step_ends(OUTCOMES[self.doing][0])
            elif self.doing is Command.START_TRIAL:
                self.trial_goes_on(GOOD)
            elif self.doing is Command.WAIT:
                self.time_passes()
            else:
                return

    def card_turns_a_bit(self) -> None:
        """The committed model is no longer what it was, as a start finds."""
        update = self.update
        if update.state is UpdateState.COMMITTED and update.reported and self.active == update.wanted.digest:
            self.world.verified.discard(self.active)
            self.active = self.previous = None
            self._feed(events.Lost())

    def model_takes_the_agent_down(self) -> None:
        """The active model ended so many starts that it is taken for the cause; this is the next one."""
        self.boot(fallen=True)

    # -- decide, persist, act; as device_agent.updates does

    def _border(self) -> None:
        self._dies_in -= 1
        if self._dies_in == 0:
            raise DiedError

    def _feed(self, event: events.Event) -> None:
        before = self.update
        update, command = machine.step(before, event)
        assert update.mark >= before.mark
        self._border()
        if isinstance(event, events.Started | events.Lost | events.AlreadyActive):
            self.world.listed_now = self.world.acknowledged_now = False
            self.world.boots = 0
            self.world.over.discard(_mark_of(update))
        self.disk = msgspec.json.encode(update)
        if update.state in RESTING and update.state is not UpdateState.COMMITTED:
            self.world.over.add(_mark_of(update))
        if update.state in RESTING and update.wanted is not None and update.wanted.digest is not None:
            self.world.owed.add(report_key(DEPLOYMENT, update))
        self.update = update
        self._border()
        self._carry_out(command)

    def _carry_out(self, command: Command) -> None:  # noqa: C901 - one case a command
        if command is not Command.NONE:
            self.doing = None
            self._hindered_in -= 1
            if self._hindered_in == 0:
                self.doing = Command.WAIT
                return
        self._check(command)
        digest = self.update.wanted.digest if self.update.wanted else None
        match command:
            case Command.SEND_EVIDENCE:
                self.spool.setdefault(report_key(DEPLOYMENT, self.update), evidence_report(DEPLOYMENT, self.update))
                self._border()
                self._feed(events.EvidenceSpooled(1))
                self.doing = command
                self.hear_ack(set())
            case Command.COMMIT:
                if digest != self.active:
                    self.active, self.previous = digest, self.active
                assert digest is not None
                self.world.committed.add(digest)
                self._border()
                self._feed(events.Settled())
            case Command.ROLL_BACK:
                self._border()
                self._feed(events.Settled())
            case Command.CLEAR:
                self.active = None
            case Command.REPORT:
                self._report()
            case Command.TAKE_NEXT:
                if self.update.next is not None:
                    self._feed(machine.begin(self.update.next, active=self.active))
            case Command.NONE:
                pass
            case _:
                self.doing = command

    def _report(self) -> None:
        report = final_report(DEPLOYMENT, self.update)
        if report is not None:
            key = report_key(DEPLOYMENT, self.update)
            assert key.endswith("/final")
            said = self.world.finals.setdefault(key, report.state)
            # A device that does not know whether its commit was heard says what it knows now.
            fell_since = key in self.world.gone and report.reason is Reason.CRASHES
            assert said == report.state or fell_since, "a final status was taken back"
            self.spool.setdefault(key, report)
        self._border()
        self._feed(events.Reported(str(self.spool_number)))

    def _check(self, command: Command) -> None:
        """The promises, stated on the command."""
        update, world = self.update, self.world
        digest = update.wanted.digest if update.wanted else None
        if command not in _HARMLESS_WHEN_OVER and command not in (Command.ROLL_BACK, Command.CLEAR):
            assert _mark_of(update) not in world.over, f"{command} for an installation whose end is on disk"
            assert digest in world.asked, f"{command} for a model that nobody wanted"
        match command:
            case Command.START_TRIAL:
                assert digest in world.verified, "a trial of unverified bytes"
                assert world.listed_now, "a trial without asking right before whether it is listed"
                assert world.boots <= limits.TRIAL_BOOTS, "a model that takes the agent down again and again"
            case Command.SEND_EVIDENCE:
                assert update.evidence is not None
                assert not update.evidence.errors, "evidence of a model that failed"
            case Command.COMMIT:
                fresh = digest in world.verified and world.listed_now and world.acknowledged_now
                assert digest == self.active or fresh, "committed without proof"


def _mark_of(update: Update) -> tuple[int, int]:
    return (update.wanted.epoch, update.wanted.revision) if update.wanted else (0, 0)


class PlayedSite:
    """The server's real engine, devices, and what is on its way between them."""

    def __init__(self, folder: Path, *, size: int) -> None:
        self._folder = folder
        self.fleet = Fleet(folder / "db", size=size)
        self.devices = {device_id: PlayedDevice(device_id) for device_id in self.fleet.ids}
        #: Every desired state that was ever composed: the wire may bring any of them again.
        self.desired: dict[str, list[Desired]] = {device_id: [] for device_id in self.devices}
        #: By device, the records that the server has committed.
        self.ledger: dict[str, set[str]] = {device_id: set() for device_id in self.devices}
        self._backup: dict[str, set[str]] | None = None
        self._turn = 0
        #: Outcomes of installations, as the server knew them last.
        self.outcomes: dict[str, str] = {}

    @property
    def present(self) -> list[PlayedDevice]:
        """Those of the fleet; others were removed, and are neither heard nor told anything."""
        return [self.devices[device_id] for device_id in self.fleet.ids]

    def close(self) -> None:
        self.fleet.close()
        STORES.forget(self._folder)

    def compose(self) -> None:
        """The link sends what changed."""
        with self.fleet.database.read() as connection:
            for device in self.present:
                sent = self.desired[device.id]
                now = devices.desired_of(connection, device.id)
                if now is not None and (not sent or now != sent[-1]):
                    sent.append(now)
                    device.world.asked |= {one.digest for one in now.deployments}

    def take_in(self, device: PlayedDevice, keys: list[str]) -> None:
        """Reports arrive, in this order; those that are committed already change nothing."""
        self._write(device, keys)
        self.fleet.run()

    def _write(self, device: PlayedDevice, keys: list[str]) -> None:
        with self.fleet.database.write() as connection:
            for key in keys:
                if key not in self.ledger[device.id]:
                    news.append(
                        connection,
                        EventKind.REPORT_RECEIVED,
                        device.id,
                        report_data(device.spool[key]),
                        self.fleet.now,
                    )
        self.ledger[device.id] |= set(keys)

    def take_in_again(self, device: PlayedDevice, key: str) -> None:
        """The link died between its two commits: an effect twice, one receipt."""
        self.ledger[device.id].discard(key)
        self.take_in(device, [key])

    def lose_spool(self, device: PlayedDevice) -> None:
        """What the server, or its backup, has of the old one says nothing of what a new one will hold."""
        for ledger in filter(None, (self.ledger, self._backup)):
            ledger[device.id] = set()
        device.lose_spool()

    def hear_reported(self, device: PlayedDevice) -> None:
        """The present state of a device arrives."""
        self._write_reported(device)
        self.fleet.run()

    def _write_reported(self, device: PlayedDevice) -> None:
        update = device.update
        missing = device.missing()
        state = DeploymentState(
            deployment=DEPLOYMENT,
            state=update.state,
            active=device.active,
            installation=update.wanted.installation if update.wanted else None,
            reason=update.reason,
            instead_of=missing,
            fallen=missing is not None and missing in update.fallen,
        )
        epoch, revision = update.mark
        reported = Reported(desired_epoch=epoch, desired_revision=revision, facts=FACTS, deployments=(state,))
        with self.fleet.database.write() as connection:
            devices.set_reported(connection, device.id, reported, now=self.fleet.now)

    # -- a server that is lost

    def back_up(self) -> None:
        self._copy_tables("db", "backup")
        self._backup = {device_id: set(keys) for device_id, keys in self.ledger.items()}
        self._taken_at = self.fleet.now

    def restore(self) -> bool:
        """The server of the backup goes on; False = there is none."""
        if self._backup is None:
            return False
        fleet = self.fleet
        self._copy_tables("backup", "db")
        fleet.database = database_in(self._folder / "db")
        fleet.now += timedelta(hours=1)
        restoration = Restoration(backup="b", taken_at=self._taken_at, restored_at=fleet.now)
        with fleet.database.write() as connection:
            settle(connection, restoration, epoch=1, signed={})
        fleet.engine = Engine(fleet.database)
        self.ledger = {device_id: set(keys) for device_id, keys in self._backup.items()}
        self.outcomes = {}
        for device in self.present:
            fleet.come(device.id)
        return True

    def _copy_tables(self, source: str, target: str) -> None:
        self.fleet.database.close()  # it connects again when it is asked
        if on_postgresql():
            STORES.copy(self._folder / source, self._folder / target)
            return
        (self._folder / target).mkdir(exist_ok=True)
        for file in (self._folder / target).glob("control.db*"):
            file.unlink()
        with closing(sqlite3.connect(self._folder / source / "control.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(self._folder / target / "control.db"),))

    # -- in the end

    def everything_flows(self) -> None:
        """Nothing is lost or late any more, and every device works.

        Yet an act in seven is hindered for a while, and power fails now and then while an ack is taken in.
        """
        for _ in range(8):
            before = [device.disk for device in self.present]
            self.compose()
            for device in self.present:
                if self.desired[device.id]:
                    device.hear(self.desired[device.id][-1])
                self._turn += 1
                with device.hindered_in(self._turn % 7):
                    device.work()
                self._write(device, device.unsaid())
                with device.dying_in((NEVER, 2, 3, 4)[self._turn % 4]):
                    device.hear_ack(self.ledger[device.id])
                device.work()
                self._write_reported(device)
            self.fleet.show_all()
            self.fleet.run()
            unsaid = any(device.unsaid() for device in self.present)
            if not unsaid and before == [device.disk for device in self.present]:
                return


__all__ = ["BAD", "GOOD", "NEVER", "OUTCOMES", "WAITING", "PlayedDevice", "PlayedSite"]
