"""An API over three devices that run `tiny@1`, and a retrainer that tests let look."""

from datetime import timedelta

import numpy as np

from edgeops.api.roles import Role
from edgeops.artifact.manifest import encode_value
from edgeops.cli.app import run
from edgeops.protocol.messages import Presence
from fleet_server.blobs import Blobs
from fleet_server.db import devices, nominations, samples, tables
from fleet_server.retraining import Retrainer
from tests.contract.rig import ApiRig
from tests.golden.tiny import tiny_descriptor, tiny_rows
from tests.unit.drift_rig import DEPLOYMENT, START, DriftRig, artifact, digest

DEVICES = ("edge-1", "edge-2", "edge-3")


class LoopRig(ApiRig):
    """`client` may do what an operator may; `edgeops` is the command line."""

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self.now = START
        self.fleet = DriftRig(folder, config=self.config, database=self.database)
        with self.database.write() as connection:
            described = encode_value(tiny_descriptor(artifact()))
            connection.execute(tables.artifacts.update().values(descriptor=described))
            for device_id in DEVICES:
                devices.set_presence(connection, device_id, presence=Presence.ONLINE, session_counter=9, now=self.now)
        self.retrainer = Retrainer(self.database, Blobs(self.config))
        self.operator = self.client(Role.OPERATOR)
        self.second = self.client(Role.ADMIN)

    def look(self):
        """Let the retrainer do all it can."""
        self.pass_time(timedelta(seconds=2))
        while self.retrainer.run_once(self.now):
            pass

    def add_samples(self, *, device_id=DEVICES[0], count=3, nomination="nominate-0"):
        """Inputs of the tiny model, and their ids."""
        rows, classes = tiny_rows(count, seed=len(nomination) + int(device_id[-1]))
        made = [
            samples.SampleRow(
                id=f"{device_id}.{nomination}.{number}",
                device_id=device_id,
                deployment=DEPLOYMENT,
                digest=digest(),
                nomination=nomination,
                input_id=str(number),
                answered_at=self.now,
                received_at=self.now,
                readings=np.asarray(rows[number], "<f4").tobytes(),
                answer=float(classes[number]),
                confidence=0.75,
                weight=1.0,
                by_chance=number == 0,
                shadow_answer=None,
            )
            for number in range(count)
        ]
        with self.database.write_telemetry() as connection:
            samples.add(connection, made)
        return [one["id"] for one in made]

    def nominate(self, retraining_id):
        """Every device that was asked answers in full."""
        with self.database.read() as connection:
            asked = nominations.of_asker(connection, retraining_id)
        for one in asked:
            self.add_samples(device_id=one.device_id, count=one.count, nomination=one.id)
            with self.database.write() as connection:
                nominations.answered(connection, one.id, part=0, last=True, samples=one.count, detail="", now=self.now)
        self.look()

    def queue(self, labels=4):
        """A retraining that waits for labels, and the samples that it chose."""
        retraining = self.operator.retrain("tiny", labels=labels)
        self.look()
        self.nominate(retraining.id)
        return retraining.id, list(self.operator.label_queue("tiny"))

    def edgeops(self, *arguments):
        """Exit code of a command."""
        return run([*arguments, "--url", self.url, "--token", self.tokens[Role.OPERATOR]])
