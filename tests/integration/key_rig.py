"""A server with one trained version, a terminal beside it, and a device's real trust client."""

import json
import threading

from device_agent.trust import FleetKeys
from edgeops import limits
from edgeops.cli.app import run
from edgeops.exits import Exit
from edgeops.learning.triggers import RetrainPolicy
from edgeops.local.endpoints import Endpoints, write_endpoints
from edgeops.trust.client import verify
from edgeops.trust.frames import Ask, Result
from edgeops.trust.keyring import FLEET_KEYS_TARGET
from edgeops.trust.repository import Repository
from fleet_server.db import tables
from fleet_server.job_desk import JobDesk
from tests.contract.rig import START, ApiRig
from tests.contract.trained import MODEL, add_dataset, add_version
from tests.integration.trust_rig import FunctionFetcher

SIGNED = "models/tiny/1-int8.json"
AUTO = "models/tiny/auto/1-int8.json"


class Site:
    """A server with one trained version, and a terminal beside it."""

    def __init__(self, folder, capsys, *, start=START, tls=False):
        self.rig = ApiRig(folder, now=start, tls=tls)
        self.client = self.rig.client()
        self.config = self.rig.config
        self.stick = folder / "stick"
        self._capsys = capsys
        snapshot = add_dataset(self.config, self.rig.database, self.rig.now)
        self.descriptor = add_version(self.config, self.rig.database, 1, self.rig.now, snapshot=snapshot)
        write_endpoints(self.config.data, Endpoints(url=self.rig.url, broker_host="127.0.0.1", broker_port=1, pid=1))
        self._stop = threading.Event()
        self._desk = JobDesk(self.config, self.rig.database, self._stop)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self):
        while not self._stop.is_set():
            if not self._desk.do_next():
                self._stop.wait(0.02)

    def run(self, *line, code=Exit.OK, data=True):
        """What a command prints: (standard output, standard error); `data` = beside the server."""
        self._capsys.readouterr()
        ended = run([*line, *(["--data", str(self.config.data)] if data else [])])
        shown = self._capsys.readouterr()
        assert ended == code, shown.err
        return shown

    def answer(self, *line):
        return json.loads(self.run(*line, "--json").out)

    def await_signature(self):
        """A retraining has made version 1 and waits for its signature."""
        now = self.rig.now
        with self.rig.database.write() as connection:
            connection.execute(
                tables.retrainings.insert().values(
                    id="retrain-1", model=MODEL, deployment="bench", digest="sha256:" + "0" * 64, trigger="person",
                    evidence={"why": "asked for"}, decision="run", policy=RetrainPolicy(), without_devices=[],
                    state="awaiting-signature", version=1, created_by="me", created_at=now, updated_at=now,
                    entered_at=now,
                )
            )  # fmt: skip

    @property
    def trusted(self):
        """Every key, as the server tells."""
        return self.client.keys()

    @property
    def repository(self):
        return Repository.open(self.config.repository, self.config.keys)

    @property
    def standing(self):
        (artifact,) = self.rig.client().version(MODEL, 1).artifacts
        return artifact.standing

    def close(self):
        self._stop.set()
        self._thread.join(30)
        self._desk.close()
        self.rig.close()


class Listener:
    """A device that was enrolled with today's root: what it believes of the repository."""

    def __init__(self, folder, site):
        self.folder, self._site = folder, site
        (folder / "metadata").mkdir(parents=True)
        (folder / "metadata/root.json").write_bytes(site.repository.trusted_root())

    def ask(self, *targets, now=None):
        """A refresh by the real client."""
        at = int((now or self._site.rig.now).timestamp())
        ask = Ask(targets=targets, max_bytes=limits.MAX_METADATA_BYTES, now=at)
        return verify(self.folder, ask, fetcher=FunctionFetcher(self._read))

    def listed(self, *, now=None):
        outcome = self.ask(now=now)
        assert isinstance(outcome, Result), outcome
        return set(outcome.listed)

    def fleet_epochs(self):
        """The epochs of the keys that it would listen to."""
        outcome = self.ask(FLEET_KEYS_TARGET)
        assert isinstance(outcome, Result), outcome
        keys = FleetKeys(self.folder)
        keys.store(outcome.targets[FLEET_KEYS_TARGET])
        return set(keys.accepted.epochs.values())

    def _read(self, path):
        file = self._site.config.repository / path
        return file.read_bytes() if file.exists() else None
