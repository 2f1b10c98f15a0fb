"""Plays one cell of the table: a broker, a server that keeps to the protocol, and the real agent on a card of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from device_agent.config import Deployment, Replay, write_deployment
from device_agent.feed import Checkpoint
from device_agent.store.slots import Slots
from device_agent.store.spool import Spool
from edgeops.artifact.package import open_artifact, package, tflite_part
from edgeops.digest import digest_bytes
from edgeops.model.golden import _Golden
from edgeops.protocol.messages import Maintenance, Presence, Reason, UpdateState, Window, decode
from edgeops.protocol.topics import UpKind
from edgeops.update.faults import FailPoint, Fault
from edgeops.update.update import RESTING
from tests.chaos.system import is_stopped
from tests.faults.card import Card
from tests.faults.stopwatch import Answer, Stopwatch, answers
from tests.faults.table import DEADLY, STARTS, Cell, End, Mishap, Model, Story
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_rows
from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually

RATE_HZ = 50.0
#: More than any cell plays (160 s); an agent that finds its card again reads the file once more, in mid course.
ROWS = 8_000
#: Two periods of the input, and what is granted beyond.
GAP_S = 2 / RATE_HZ + 0.25
FIRST_S = 5.0
#: How long the world stays as the mishap made it, once it was noticed.
_HOLD_S = 1.0
_BEGUN_ROWS = 30
#: Of a first process, that another one follows.
_PROBING_ENDS = f"{FailPoint.SAVED_PROBING}:{Fault.KILL}"


class Stage:
    """Set up once for many cells; for the main thread."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder)
        server = self.rig.server
        good = tiny_artifact(version=1)
        self.models = {
            Model.INCUMBENT: server.publish_artifact(good),
            Model.CANDIDATE: server.publish_model(version=2),
            Model.NEXT: server.publish_model(version=3),
        }
        self._wrong = server.publish_artifact(_wrong(tiny_artifact(version=4)))
        self._unserved = server.publish_artifact(_unserved(tiny_artifact(version=5)))
        #: Nobody signed it.
        self._unsigned = (digest_bytes(b"smuggled"), self.models[Model.CANDIDATE][1])
        self._signed = {digest for digest, _ in (*self.models.values(), self._wrong, self._unserved)}
        # In memory where there is such a folder: the agent's answers shall not wait for this machine's disk.
        memory = Path("/dev/shm")
        self._memory = Path(tempfile.mkdtemp(prefix="edgeops-faults-", dir=memory if memory.is_dir() else None))
        self._answers = self._memory / "answers.jsonl"
        self._prepared = folder / "prepared"
        self._prepare()
        self.card = Card(self.rig.state.path)

    def close(self) -> None:
        self.clear()
        self.card.close()
        self.rig.close()
        shutil.rmtree(self._memory)

    def _prepare(self) -> None:
        """A device whose incumbent answers."""
        rig = self.rig
        # Lines of JSON: what a header does not tell, the device does not know before it reads.
        file = rig.folder / "rows.jsonl"
        rows = tiny_rows(ROWS)[0].tolist()
        file.write_text("".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows))
        order = Replay(file=str(file), run="faults", rate_hz=RATE_HZ)
        write_deployment(rig.state, DEPLOYMENT, Deployment(source=order, jsonl=str(self._answers)))
        digest, target = self.models[Model.INCUMBENT]
        rig.server.desire(1, (DEPLOYMENT, digest, target))
        rig.start_agent()
        eventually(lambda: rig.committed(digest), what="the incumbent is committed")
        eventually(lambda: rig.status()["pending_records"] == 0, what="everything is acknowledged")
        assert rig.stop_agent() == 0
        shutil.copytree(rig.state.path, self._prepared, symlinks=True)
        self._began_at = self._position(self._prepared)
        #: Rows before that, in windows that are still to be told.
        self._untold = self._waiting_rows(self._prepared, told=())

    def clear(self) -> None:
        """What a cell that went wrong leaves behind."""
        if self.rig.agent is not None and self.rig.agent.poll() is None:
            self.rig.agent.kill()
            self.rig.agent.wait()
        self.card.release()

    # -- one cell ---------------------------------------------------------------------------

    def play(self, cell: Cell) -> "Outcome":
        """From an incumbent at work, through the mishap, until everything has settled."""
        is_caught = cell.story is Story.CAUGHT
        watches = [self._start_incumbent(cell, fail_point=_PROBING_ENDS if is_caught else cell.fail_point)]
        if cell.story is Story.HELD:
            self._owner_says("hold", cell)
        self._begin(cell.story)
        if is_caught:
            self._die(cell, watches[-1])
            self._owner_says("hold", cell)
            watches.append(self._start(fail_point=cell.fail_point))
        if cell.wait is not None and cell.border == cell.wait.ended:
            self._end_wait(cell)
        if cell.mishap in DEADLY:
            self._die(cell, watches[-1])
            watches.append(self._start_again(cell))
        elif cell.mishap in {Mishap.FULL, Mishap.READ_ONLY, Mishap.LOST_ACK}:
            self._strike(cell, watches[-1])
        if cell.wait is not None and cell.border != cell.wait.ended:
            self._end_wait(cell)
        return self._end(cell, cell.end, watches)

    def _die(self, cell: Cell, watch: Stopwatch) -> None:
        eventually(self.rig.died, what=f"{cell}: it is killed")
        assert self.rig.agent.returncode == -signal.SIGKILL
        watch.stop()
        self._look_at_disk(cell)

    def update(self, artifact: bytes, end: End, **settings: str) -> "Outcome":
        """From an incumbent at work, through an update in an agent with such an environment, until it has settled."""
        wanted = self.rig.server.publish_artifact(artifact)
        watch = self._start_incumbent(wanted[1], **settings)
        self.rig.server.desire(2, (DEPLOYMENT, *wanted))
        return self._end(wanted[1], end, [watch])

    def _start_incumbent(self, what: object, **settings: str) -> Stopwatch:
        """The device as it was prepared, answering and in contact."""
        server = self.rig.server
        self._answers.unlink(missing_ok=True)
        self.card.hold(self._prepared)
        server.forget()
        digest, target = self.models[Model.INCUMBENT]
        server.desire(1, (DEPLOYMENT, digest, target))
        watch = self._start(**settings)
        eventually(lambda: self._rows_answered() >= _BEGUN_ROWS, what=f"{what}: the incumbent answers")
        eventually(lambda: server.reported, what=f"{what}: the agent is in contact")
        return watch

    def _end(self, what: object, end: End, watches: list[Stopwatch]) -> "Outcome":
        """It settles as it must, and the agent is stopped."""
        self._settle(what, end)
        settled_s = time.time()
        if end.active is not Model.NONE:
            eventually(lambda: self._answers_since(settled_s), what=f"{what}: somebody goes on answering")
        end_s = time.time()
        assert self.rig.stop_agent() == 0, f"{what}: it does not end well"
        watches[-1].stop()
        self._look_at_disk(what)
        return Outcome(self, watches, until_s=end_s)

    def _begin(self, story: Story) -> None:
        server = self.rig.server
        candidate = {
            Story.UNSIGNED: self._unsigned,
            Story.WRONG: self._wrong,
            Story.UNSERVED: self._unserved,
            Story.NOTHING: (None, None),
        }.get(story, self.models[Model.CANDIDATE])
        server.sends_blocks = story is not Story.OVERTAKEN
        server.desire(2, (DEPLOYMENT, *candidate), maintenance=(_later(),) if story is Story.EARLY else ())
        if story is Story.OVERTAKEN:
            eventually(lambda: server.state().state is UpdateState.FETCHING, what="the candidate is fetched")
            server.desire(3, (DEPLOYMENT, *self.models[Model.NEXT]))
            server.sends_blocks = True

    def _strike(self, cell: Cell, watch: Stopwatch) -> None:
        """Change the world while the agent stands still, let it go on, and mend the world when it has been noticed."""
        rig, server, pid = self.rig, self.rig.server, self.rig.agent.pid
        last_s = time.time()
        until_s = time.monotonic() + 60
        while not is_stopped(pid):
            assert time.monotonic() < until_s, f"{cell}: the fail point is not reached"
            last_s = time.time()
            time.sleep(0.005)
        if cell.mishap is Mishap.LOST_ACK:
            server.acknowledges = False
        else:
            self.card.fill(under=pid)
            if cell.mishap is Mishap.READ_ONLY:
                self.card.protect()
        os.kill(pid, signal.SIGCONT)
        watch.held.append((last_s, time.time()))
        if cell.mishap is Mishap.LOST_ACK:
            self._lose_ack(cell)
            return
        if cell.wait is None:
            eventually(lambda: server.state().reason is Reason.DISK, what=f"{cell}: the server hears of the disk")
        else:
            self._waits_on_full_card(cell)
        assert rig.agent.poll() is None
        time.sleep(_HOLD_S)
        self.card.release()
        self.card.empty(under=pid)

    # -- an update that waits ------------------------------------------------------------------

    def _end_wait(self, cell: Cell) -> None:
        """It is seen to wait, and what it waits for comes."""
        eventually(lambda: self._waits(cell), what=f"{cell}: it waits; {self.rig.status()}")
        if cell.wait.reason is Reason.HELD:
            self._owner_says("release", cell)
        else:
            self.rig.server.desire(3, (DEPLOYMENT, *self.models[Model.CANDIDATE]), installation="inst-2")

    def _waits(self, cell: Cell) -> bool:
        """Whether the agent says so; the incumbent answers meanwhile."""
        status = self.rig.status()
        [one] = [one for one in (status or {}).get("deployments", []) if one["deployment"] == DEPLOYMENT] or [{}]
        waits = (one.get("state"), one.get("reason")) == (cell.state, cell.wait.reason)
        return waits and one["active"] == self.digest(Model.INCUMBENT)

    def _waits_on_full_card(self, cell: Cell) -> None:
        """It has nothing to write, and goes on waiting; an owner whose word cannot be kept hears so."""
        time.sleep(_HOLD_S)
        assert self._waits(cell), f"{cell}: {self.rig.status()}"
        if cell.wait.reason is Reason.HELD and self.card.is_real:
            said = self._owner_command("release")
            assert said.returncode, f"{cell}: the hold is gone on a card that takes nothing"
            assert "make room" in said.stderr
            assert self._waits(cell), f"{cell}: {self.rig.status()}"

    def _owner_says(self, word: str, cell: Cell) -> None:
        said = self._owner_command(word)
        assert said.returncode == 0, f"{cell}: {said.stderr}"

    def _owner_command(self, word: str) -> "subprocess.CompletedProcess[str]":
        """`edgeops-agent hold` or `release`, in a process of its own."""
        command = [sys.executable, "-m", "device_agent.cli", "--state", str(self.rig.state.path), word, DEPLOYMENT]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    # -- the card and the acks -------------------------------------------------------------------

    def _lose_ack(self, cell: Cell) -> None:
        """The server has it, the device does not hear so."""
        if cell.story is not Story.NOTHING:
            eventually(self.rig.server.reports, what=f"{cell}: a report arrives")
        time.sleep(_HOLD_S)
        self.rig.server.acknowledges = True

    def _start(self, **settings: str) -> Stopwatch:
        self.rig.start_agent(EDGEOPS_DISK_RESERVE_MIB="1", **settings)
        return Stopwatch(self.rig.agent.pid)

    def _start_again(self, cell: Cell) -> Stopwatch:
        """The next start: with a card that takes nothing for a while, or as ever."""
        if cell.mishap not in STARTS:
            return self._start()
        if cell.mishap is Mishap.FULL_START:
            self.card.fill()
        else:
            self.card.protect()
        watch = self._start()
        if cell.story is Story.NOTHING:
            time.sleep(_HOLD_S)
        else:
            eventually(lambda: self._answers_since(watch.began_s), what=f"{cell}: it answers on such a card")
        assert self.rig.agent.poll() is None, f"{cell}: it does not run on such a card"
        uncounted = {answer.digest for answer in self._answers_since(watch.began_s)}
        assert uncounted <= {self.digest(Model.INCUMBENT)}, "a start that is not counted tries no candidate"
        assert self.rig.server.statuses[-1][0] is Presence.OFFLINE, "a start that is not counted says nothing"
        self.card.release()
        self.card.empty()
        return watch

    def _settle(self, what: object, end: End) -> None:
        """The server has heard the end of it, and all that the device had to say."""
        server = self.rig.server

        def has_settled() -> bool:
            state, status = server.state(), self.rig.status()
            return (
                state is not None
                and (state.state, state.reason) == (end.state, end.reason)
                and state.active == self.digest(end.active)
                and len(self.final_reports()) >= len(end.reports)
                and status is not None
                and status["pending_records"] == 0
            )

        eventually(has_settled, what=f"{what}: it settles as {end}; {self._standing()}")

    def _standing(self) -> str:
        return f"before: {self.rig.server.state()}"

    # -- what is looked at ---------------------------------------------------------------------

    def digest(self, model: Model) -> str | None:
        return None if model is Model.NONE else self.models[model][0]

    def final_reports(self) -> list[tuple[str, UpdateState]]:
        """(installation, how it ended), in order."""
        reports = self.rig.server.reports()
        return sorted((one.installation, one.state) for one in reports if one.state in RESTING)

    def _look_at_disk(self, what: object) -> None:
        """What would answer after a start is what somebody signed, byte for byte."""
        slots = Slots(self.rig.state.deployment(DEPLOYMENT))
        active = slots.pointer.active
        if active is not None:
            assert active in self._signed, f"{what}: {active} is active"
            assert slots.holds(active), f"{what}: {active} is not what lies there"

    def _rows_answered(self) -> int:
        return len(answers(self._answers))

    def _answers_since(self, at_s: float) -> list[Answer]:
        return [answer for answer in answers(self._answers) if answer.at_s >= at_s]

    def _waiting_rows(self, state: Path, *, told: Collection[tuple[bytes, int]]) -> int:
        """Source rows in windows that wait in a spool, but for those that were told."""
        with contextlib.closing(Spool.open(state / "spool.db")) as spool:
            return sum(
                decode(record.data, Window).source_rows
                for batch in spool.take(1000)
                if batch.kind is UpKind.TELEMETRY
                for record in batch.body.records
                if (spool.id, record.seq) not in told
            )

    def _position(self, state: Path) -> int:
        with contextlib.closing(Spool.open(state / "spool.db")) as spool:
            stored = spool.checkpoint(DEPLOYMENT)
            return msgspec.msgpack.decode(stored, type=Checkpoint).position if stored else 0


class Outcome:
    """What is asserted of it."""

    def __init__(self, stage: Stage, watches: list[Stopwatch], *, until_s: float) -> None:
        self._stage, self._watches, self._until_s = stage, watches, until_s
        self.answers = answers(stage._answers)
        self.active = Slots(stage.rig.state.deployment(DEPLOYMENT)).pointer.active
        self.reports = tuple(state for _, state in stage.final_reports())
        self.detail = stage.rig.server.state().detail

    @property
    def first_prediction_s(self) -> float:
        """From the last start to its first answer, less what the machine kept from it."""
        watch = self._watches[-1]
        first = min(answer.at_s for answer in self.answers if answer.at_s >= watch.began_s)
        return first - watch.began_s - watch.kept_s(watch.began_s, first)

    @property
    def excess_gap_s(self) -> float:
        """By how much a silence within one process was too long."""
        ends = [*(watch.began_s for watch in self._watches[1:]), float("inf")]
        spans = zip(self._watches, ends, strict=True)
        return max(
            watch.excess_s(
                [answer for answer in self.answers if watch.began_s <= answer.at_s < min(end, self._until_s)],
                allowed_s=GAP_S,
            )
            for watch, end in spans
        )

    @property
    def skipped_rows(self) -> list[int]:
        """Rows that nobody answered, up to the last that somebody did."""
        rows = {answer.row for answer in self.answers}
        return sorted(set(range(self._stage._began_at, max(rows) + 1)) - rows)

    @property
    def unsigned(self) -> set[str]:
        """Models that answered and that nobody signed."""
        return {answer.digest for answer in self.answers} - self._stage._signed

    @property
    def rows_counted(self) -> tuple[int, int]:
        """Source rows in windows, at the server or on their way there, and how far the source has come."""
        stage, state = self._stage, self._stage.rig.state.path
        server = stage.rig.server
        counted = server.rows() + stage._waiting_rows(state, told=server.records) - stage._untold
        return counted, stage._position(state) - stage._began_at


def _later() -> Maintenance:
    """A window of an hour, every day, that is closed for some hours to come."""
    opens = (datetime.now(UTC).hour + 11) % 24 * 60
    return Maintenance(zone="UTC", days=tuple(range(7)), opens=opens, closes=opens + 59)


def _wrong(artifact: bytes) -> bytes:
    """The same, answering its golden vectors wrongly."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact)
        opened = open_artifact(path)
    golden = msgspec.msgpack.decode(opened.golden, type=_Golden)
    wrong = msgspec.structs.replace(golden, outputs=tuple(output[::-1] for output in golden.outputs))
    return package(
        tflite_part(artifact),
        opened.manifest,
        reference=opened.reference,
        golden=msgspec.msgpack.encode(wrong),
        card=opened.card,
    )


def _unserved(artifact: bytes) -> bytes:
    """The same, reading a column that nobody has."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(artifact)
        opened = open_artifact(path)
    window = msgspec.structs.replace(opened.manifest.window, columns=(*COLUMNS[:3], "x9"))
    manifest = msgspec.structs.replace(opened.manifest, window=window)
    return package(tflite_part(artifact), manifest, reference=opened.reference, golden=opened.golden, card=opened.card)
