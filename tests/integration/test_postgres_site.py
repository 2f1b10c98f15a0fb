"""A site whose tables are in PostgreSQL: two of each process, and what happens when one is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from edgeops import limits
from edgeops.data.rules import Rules
from edgeops.local.starter import begin
from edgeops.local.up import Site
from fleet_server.blobs import Blobs
from fleet_server.config import ServerConfig
from fleet_server.db import audit, jobs, tokens
from fleet_server.db.jobs import ImportDataset, JobState
from fleet_server.setup import init
from tests.integration.ports import free_port
from tests.integration.waiting import answers_change_twice, ask_until
from tests.stores import STORES

pytestmark = [pytest.mark.slow, pytest.mark.long]


class Shared:
    """A data folder, its database on PostgreSQL, and the processes that a test starts on them."""

    def __init__(self, folder, ending):
        self.url = STORES.url(folder)
        self.config = ServerConfig(folder / "data", database=self.url)
        init(self.config, now=datetime.now(UTC))
        self.database = STORES.open(self.url)
        self.token = self.config.admin_token.read_text().strip()
        self._logs = folder
        self._ending = ending

    def start(self, name, *arguments):
        """Start a process of the server; its log is `<name>.log`."""
        log = self._ending.enter_context((self._logs / f"{name}.log").open("wb"))
        command = [sys.executable, "-m", "fleet_server.cli", *arguments, "--data", str(self.config.data)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"EDGEOPS_DATABASE": self.url})
        self._ending.callback(self._end, process)
        return process

    def log(self, name):
        return (self._logs / f"{name}.log").read_text()

    def start_api(self, name):
        """Start an API process; a client of it."""
        port = free_port()
        process = self.start(name, "api", "--api-port", str(port))
        client = self._ending.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}/api/v1",
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=60,
            )
        )

        def answers():
            with suppress(httpx.HTTPError):
                return client.get("/health").is_success
            return False

        ask_until(answers, what=f"{name} answers", seconds=60)
        return process, client

    @staticmethod
    def _end(process):
        process.kill()
        process.wait()


@pytest.fixture
def shared(tmp_path):
    with ExitStack() as ending:
        yield Shared(tmp_path, ending)


def test_an_api_that_is_killed_in_mid_request_leaves_nothing_half_and_holds_up_no_other(shared):
    victim, client = shared.start_api("api-1")
    _, other = shared.start_api("api-2")
    answered = [[], []]
    stop = threading.Event()

    def make(number, one):
        count = 0
        while not stop.is_set():
            count += 1
            try:
                made = one.post("/tokens", json={"name": f"{number}-{count}", "role": "viewer"})
            except httpx.HTTPError:
                return
            assert made.is_success, made.text
            answered[number].append(made.json()["id"])

    threads = [threading.Thread(target=make, args=pair) for pair in ((0, client), (1, other)) for _ in range(3)]
    for thread in threads:
        thread.start()
    ask_until(lambda: len(answered[0]) > 8, what="the first one has work", seconds=60)
    time.sleep(random.Random(7).random() / 20)
    victim.send_signal(signal.SIGKILL)
    before = len(answered[1])
    ask_until(lambda: len(answered[1]) > before + 8, what="the other one goes on", seconds=60)
    stop.set()
    for thread in threads:
        thread.join()
    with shared.database.read() as connection:
        kept = {one.id for one in tokens.api_token_page(connection, after=None, limit=100_000)}
        assert set(answered[0]) | set(answered[1]) <= kept
        assert isinstance(audit.verify(connection), audit.Intact)
    assert other.get("/events").is_success


def test_a_request_that_comes_to_both_at_once_with_one_key_acts_once_and_has_one_answer(shared):
    clients = [shared.start_api(name)[1] for name in ("api-1", "api-2")]
    pairs = 25
    begin = threading.Barrier(2)
    answers = [[], []]

    def ask(one, into):
        for number in range(pairs):
            begin.wait(60)
            said = {"name": f"twice-{number}", "role": "viewer"}
            into.append(one.post("/tokens", json=said, headers={"Idempotency-Key": f"of-both-{number}"}))

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(clients, answers, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.status_code for one in answers[0] + answers[1]] == [201] * 2 * pairs
    assert [one.json() for one in answers[0]] == [one.json() for one in answers[1]], "the same secret, too"
    with shared.database.read() as connection:
        names = [one.name for one in tokens.api_token_page(connection, after=None, limit=1_000)]
        assert isinstance(audit.verify(connection), audit.Intact)
    assert sorted(name for name in names if name.startswith("twice")) == sorted(f"twice-{n}" for n in range(pairs))


def test_when_the_jobs_process_is_killed_the_one_that_waits_takes_its_place_and_its_work(shared, tmp_path):
    first = shared.start("jobs-1", "jobs")
    ask_until(lambda: "jobs.took-lease" in shared.log("jobs-1"), what="the first one works", seconds=60)
    second = shared.start("jobs-2", "jobs")
    ask_until(lambda: "jobs.waits" in shared.log("jobs-2"), what="the second one waits", seconds=60)
    assert "jobs.took-lease" not in shared.log("jobs-2")

    first.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    job = queue_import(shared, tmp_path)
    ask_until(lambda: "jobs.took-lease" in shared.log("jobs-2"), what="the second one works", seconds=60)
    took_s = time.monotonic() - killed_at
    assert took_s < limits.LEASE_LIFE.total_seconds() + 5, "it waits for the lease to end, and not much longer"

    def has_ended():
        with shared.database.read() as connection:
            return jobs.get(connection, job.id).state is JobState.SUCCEEDED

    ask_until(has_ended, what="the job is done", seconds=90)
    third = shared.start("jobs-3", "jobs")
    ask_until(lambda: "jobs.waits" in shared.log("jobs-3"), what="the third one waits", seconds=60)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) == 0
    ended_at = time.monotonic()
    ask_until(lambda: "jobs.took-lease" in shared.log("jobs-3"), what="the third one works", seconds=60)
    assert time.monotonic() - ended_at < limits.LEASE_LIFE.total_seconds() / 2, "who ends gives the lease back"
    third.send_signal(signal.SIGTERM)
    assert third.wait(timeout=60) == 0


def queue_import(shared, folder):
    file = folder / "table.npz"
    np.savez(file, X=np.random.default_rng(1).normal(size=(90, 3)).astype(np.float32), y=np.arange(90) % 2)
    upload = Blobs(shared.config).put(file.read_bytes())
    request = ImportDataset(name="table", upload=upload, file_name="table.npz", rules=Rules(label="y"))
    with shared.database.write() as connection:
        return jobs.queue(connection, request, created_by="test", now=datetime.now(UTC))


def test_a_site_with_agents_goes_through_a_rollout_and_tells_no_process_list_its_database(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEOPS_DATABASE", STORES.url(tmp_path))
    with Site(tmp_path / "site", agents=2, starter=True) as site:
        assert begin(site) is not None
        answers_change_twice(site)
        rollout = next(iter(site.client.rollouts()))
        ask_until(
            lambda: all(one.state in ("committed", "healthy") for one in site.client.installations(rollout.id)),
            what="both devices have it",
            seconds=90,
        )
        assert not list((tmp_path / "site/db").glob("*.db")), "the tables are elsewhere"
        for part in site.server:
            assert b"postgresql" not in Path(f"/proc/{part.child.pid}/cmdline").read_bytes()
