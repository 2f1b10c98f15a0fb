"""The trust child as a process, against a real repository folder: over pipes and over HTTP.

What it makes of attacks is in tests/unit/test_trust_verification.py.
"""

import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.trust.frames import Ask, Failure, FailureKind, Result, converse, write_frame
from tests.integration.trust_rig import DESCRIPTOR, SECOND, Site, kind_of, listed, served


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_an_asked_target_comes_back_with_everything_that_is_listed(site):
    site.repository.publish({SECOND: b"{}"}, site.now)

    outcome = site.ask_child(DESCRIPTOR, "models/never/1-int8.json")

    assert isinstance(outcome, Result)
    assert outcome.targets == {DESCRIPTOR: b'{"one": 1}', "models/never/1-int8.json": None}
    assert outcome.listed == {DESCRIPTOR: 10, SECOND: 2}
    assert outcome.versions == {"root": 1, "timestamp": 3, "snapshot": 3, "targets": 3}
    assert outcome.expires["timestamp"] == int((site.now + limits.TIMESTAMP_LIFE).timestamp())


def test_the_child_judges_expiry_by_its_parents_time(site):
    late = site.now + limits.TIMESTAMP_LIFE + timedelta(minutes=1)
    assert kind_of(site.ask_child(now=late)) is FailureKind.EXPIRED


def test_no_contact_is_a_failure_of_the_way_and_not_of_trust(site):
    def unreachable(_path: str) -> bytes:
        raise TimeoutError("no answer within 30 s")

    outcome = site.ask_child(fetch=unreachable)

    assert kind_of(outcome) is FailureKind.TRANSPORT
    assert "no answer within 30 s" in outcome.detail


def test_two_children_of_one_device_take_turns(site):
    outcomes: list[Result | Failure] = []
    threads = [threading.Thread(target=lambda: outcomes.append(site.ask_child(DESCRIPTOR))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [listed(outcome) for outcome in outcomes] == [{DESCRIPTOR}, {DESCRIPTOR}]


def test_a_child_whose_parent_died_ends_by_itself(site):
    command = [sys.executable, "-m", "edgeops.trust.client", "--state", str(site.state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        write_frame(child.stdin, Ask(targets=(), max_bytes=0, now=0))
        child.stdin.close()
        child.stdout.close()
        assert child.wait(timeout=30) == 1
        assert child.stderr.read() == b""


def test_enrolment_fetches_over_http(site):
    command = [sys.executable, "-m", "edgeops.trust.client", "--state", str(site.state), "--url"]
    with served(site) as url:
        reached = _run(command, url)
    gone = _run(command, url)

    assert isinstance(reached, Result)
    assert reached.targets == {DESCRIPTOR: b'{"one": 1}'}
    assert kind_of(gone) is FailureKind.TRANSPORT


def test_the_client_that_the_public_suite_tests_gets_what_is_listed_and_nothing_else(site, tmp_path):
    root = tmp_path / "root.json"
    root.write_bytes(site.repository.trusted_root())
    client = ["edgeops-agent", "tuf", "--metadata-dir", str(tmp_path / "metadata")]
    assert subprocess.run([*client, "init", root], check=False).returncode == 0
    with served(site) as url:
        online = [*client, "--metadata-url", f"{url}/metadata"]
        assert subprocess.run([*online, "refresh"], check=False).returncode == 0
        places = ["--target-base-url", f"{url}/targets", "--target-dir", str(tmp_path / "targets")]
        got = [
            subprocess.run([*online, "--target-name", name, *places, "download"], check=False, capture_output=True)
            for name in (DESCRIPTOR, "models/digits/9-int8.json")
        ]
    assert [one.returncode for one in got] == [0, 1]
    assert b"does not list models/digits/9-int8.json" in got[1].stderr
    assert [file.read_bytes() for file in (tmp_path / "targets").iterdir()] == [b'{"one": 1}']
    assert subprocess.run([*online, "refresh"], check=False, capture_output=True).returncode == 1


def test_an_address_that_is_no_web_address_is_refused(site):
    command = [sys.executable, "-m", "edgeops.trust.client", "--state", str(site.state), "--url"]
    outcome = _run(command, "file:///etc")
    assert kind_of(outcome) is FailureKind.OTHER
    assert "http" in outcome.detail


def _run(command: list[str], url: str) -> Result | Failure:
    with subprocess.Popen([*command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        return converse(
            child.stdin,
            child.stdout,
            ask=Ask(targets=(DESCRIPTOR,), max_bytes=1_000, now=int(time.time())),
            fetch=lambda _path: None,
        )
