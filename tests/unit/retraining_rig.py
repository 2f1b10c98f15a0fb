"""A fleet that runs `gas@1` in a database of its own, with devices, people and jobs that tests play."""

import logging
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np

from edgeops.artifact.manifest import encode_value
from edgeops.drift.finding import Finding, Kind, Verdict
from edgeops.learning.labels import LabelSource
from edgeops.learning.triggers import RetrainPolicy, read_policy
from edgeops.protocol.messages import Command, DeploymentState, UpdateState, decode
from edgeops.protocol.topics import DownKind
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import (
    findings,
    jobs,
    label_queue,
    labels,
    models,
    nominations,
    outbox,
    policies,
    retrainings,
    samples,
    tables,
)
from fleet_server.db.findings import Stream
from fleet_server.retraining import Retrainer
from fleet_server.retraining_orders import cancel_retraining, start_retraining
from tests.golden.tiny import tiny_artifact, tiny_descriptor
from tests.unit.engine_rig import Fleet, digest_of

GAS = Stream("gas", 1, digest_of(1), "gas")


@cache
def _descriptor() -> bytes:
    return encode_value(tiny_descriptor(tiny_artifact("gas")))


def _blobs_with_gas_1(folder: Path) -> Blobs:
    """The file that a retraining asks about samples, under the digest that the rows of this rig name."""
    config = ServerConfig(folder)
    path = config.blob_path(digest_of(1))
    path.parent.mkdir(parents=True)
    path.write_bytes(_gas_1())
    return Blobs(config)


@cache
def _gas_1() -> bytes:
    return tiny_artifact("gas", embedding=True)


def said(verdict: Verdict = Verdict.DRIFT, kinds=(Kind.DATA,), *, class_mix_only: bool = False) -> Finding:
    """A judgement without its channels."""
    return Finding(
        verdict=verdict,
        kinds=tuple(kinds) if verdict is Verdict.DRIFT else (),
        reason="x1 reads higher than in training",
        channels=(),
        class_mix_only=class_mix_only,
        rows=100,
        windows=3,
        rows_needed=None,
        estimated_accuracy=None,
        estimated_error=None,
        quality=(),
    )


class Loop(Fleet):
    """Devices `dev-0` ... answer with `gas@1`; `gas@3` is what a retraining makes."""

    def __init__(self, folder: Path, *, size: int = 3, policy: dict[str, object] | None = None) -> None:
        super().__init__(folder, size=size)
        for name in ("retraining", "engine"):
            logging.getLogger(f"fleet_server.{name}").addHandler(self.bugs)
        self._blobs = _blobs_with_gas_1(folder)
        self.retrainer = Retrainer(self.database, self._blobs)
        for device_id in self.ids:
            self.runs(device_id, 1)
        if policy is not None:
            self.allow(**policy)

    def train(self, version: int, *, published: bool) -> None:
        """With a descriptor that names the classes red, green and blue."""
        super().train(version, published=published)
        with self.database.write() as connection:
            own = tables.artifacts.c.digest == digest_of(version)
            connection.execute(tables.artifacts.update().where(own).values(descriptor=_descriptor()))

    def close(self) -> None:
        for name in ("retraining", "engine"):
            logging.getLogger(f"fleet_server.{name}").removeHandler(self.bugs)
        super().close()

    def run(self) -> None:
        """Let engine and retrainer do all they can."""
        retrainer = getattr(self, "retrainer", None)
        while self.engine.run_once(self.now) or (retrainer is not None and retrainer.run_once(self.now)):
            pass

    def restart(self) -> None:
        """A new process, which remembers nothing."""
        self.retrainer = self.new_retrainer()

    def new_retrainer(self) -> Retrainer:
        return Retrainer(self.database, self._blobs)

    # -- people

    def allow(self, **values: object) -> RetrainPolicy:
        policy = read_policy({"rollout_policy": {"bake": 0}, **values})
        with self.database.write() as connection:
            policies.put(connection, "gas", policy, updated_by="me", now=self.now)
        return policy

    def start(self, **values: object) -> str:
        retraining_id = start_retraining(self.database, "gas", started_by="me", now=self.now, **values)
        self.run()
        return retraining_id

    def cancel(self, retraining_id: str) -> None:
        cancel_retraining(self.database, retraining_id, cancelled_by="me", now=self.now)
        self.run()

    def label(self, *sample_ids: str, label: str = "red", author: str = "lab", source=LabelSource.PERSON) -> None:
        with self.database.write() as connection:
            new = [
                labels.NewLabel(
                    sample_id=one, model="gas", device_id=one.split(".")[0], label=label, source=source, author=author
                )
                for one in sample_ids
            ]
            labels.add(connection, new, self.now)
        self.run()

    def sign(self, version: int = 3) -> None:
        with self.database.write() as connection:
            artifact = models.get_artifact(connection, "gas", version, "int8")
            models.mark_published(connection, artifact, self.now, target=artifact.target)
        self.run()

    # -- devices

    def runs(self, device_id: str, version: int) -> None:
        self.report(device_id, DeploymentState(deployment="gas", state=UpdateState.IDLE, active=digest_of(version)))

    def asked(self) -> list[tuple[str, Command]]:
        """Every letter with a command, in order; a letter stays until it is taken."""
        with self.database.read() as connection:
            letters = outbox.waiting(connection, limit=10_000)
        return [(one.device_id, decode(one.body, Command)) for one in letters if one.kind is DownKind.COMMAND]

    def nominate(self, *device_ids: str, count: int | None = None, arrive: bool = True, detail: str = "") -> None:
        """What asked devices answer; not `arrive` = `control` knows and `telemetry` does not yet."""
        commands = dict(self.asked())
        for device_id in device_ids or sorted(commands):
            command = commands[device_id]
            number = command.request.count if count is None else count
            with self.database.write() as connection:
                nominations.answered(
                    connection, command.command, part=0, last=True, samples=number, detail=detail, now=self.now
                )
            if arrive:
                self.arrive(device_id, command.command, number)
        self.run()

    def arrive(self, device_id: str, nomination: str, number: int) -> None:
        rng = np.random.default_rng(len(device_id) + number)
        rows = [
            samples.SampleRow(
                id=f"{device_id}.{nomination[-6:]}.{place:03d}",
                device_id=device_id,
                deployment="gas",
                digest=digest_of(1),
                nomination=nomination,
                input_id=str(place),
                answered_at=self.now,
                received_at=self.now,
                readings=rng.normal(size=4).astype("<f4").tobytes(),
                answer=1.0,
                confidence=0.5,
                weight=1.0,
                by_chance=place % 5 == 0,
                shadow_answer=None,
            )
            for place in range(number)
        ]
        with self.database.write_telemetry() as connection:
            samples.add(connection, rows)

    # -- monitoring and jobs

    def judge(
        self, verdict: Verdict = Verdict.DRIFT, *, device_id: str = "", stream: Stream = GAS, **judgement: object
    ) -> None:
        """What monitoring says now; `judgement` as in `said`."""
        self.now += timedelta(milliseconds=1)
        judged = said(verdict, **judgement)
        with self.database.write() as connection:
            findings.record(connection, stream, device_id, judged, self.now, seen_until=self.now)
        self.run()

    def end_job(self, *, passed: bool = True, signed: bool = False, error: str | None = None) -> None:
        """How the queued training ends; `gas@3` is what it made."""
        with self.database.write() as connection:
            job = jobs.claim(connection, self.now)
            assert isinstance(job.request, jobs.Retrain), job
            if error is not None:
                jobs.fail(connection, job.id, error=error, now=self.now)
            else:
                result = {
                    "run": "run-1",
                    "model": "gas",
                    "version": 3,
                    "snapshot": "sha256:" + "5" * 64,
                    "bought": 4,
                    "artifacts": {},
                    "promotion": {
                        "passed": passed,
                        "rules": [{"name": "heals", "passed": passed, "reason": "better on what it never saw"}],
                    },
                    "signed": signed,
                }
                jobs.succeed(connection, job.id, result=result, now=self.now)
            if signed:
                artifact = models.get_artifact(connection, "gas", 3, "int8")
                models.mark_published(connection, artifact, self.now, target=artifact.target)
        self.run()

    # -- what came of it

    def all(self) -> list[retrainings.Retraining]:
        """Every firing, oldest first."""
        with self.database.read() as connection:
            return list(reversed(retrainings.page(connection, limit=1_000)))

    def last(self) -> retrainings.Retraining:
        return self.all()[-1]

    def queue(self, state=label_queue.ItemState.OPEN) -> list[label_queue.Item]:
        with self.database.read() as connection:
            return list(label_queue.page(connection, "gas", state=state, limit=10_000))

    def queued_jobs(self) -> list[jobs.Retrain]:
        with self.database.read() as connection:
            return [one.request for one in jobs.page(connection, None, 1_000)]

    def later(self, span: timedelta) -> None:
        """Move the clock in one jump, and look."""
        self.now += span
        self.run()
