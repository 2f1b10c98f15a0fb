"""The trust child against a real repository folder: over pipes, over HTTP, and under attack.

Every attack ends in a typed failure, and the metadata on disk serves the next honest answer.
"""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata, Root
from tuf.ngclient.updater import Updater

from edgeops import limits
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.frames import Ask, Failure, FailureKind, Result, converse, write_frame
from edgeops.trust.repository import Repository
from edgeops.trust.signers import signers_in
from tests.integration.trust_rig import DESCRIPTOR, SECOND, Site, kind_of, listed, replaced


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


def test_the_child_asks_only_for_what_is_new(site):
    site.ask(DESCRIPTOR)
    asked: list[str] = []

    def watch(path: str) -> bytes | None:
        asked.append(path)
        return site.read(path)

    assert isinstance(site.ask(DESCRIPTOR, fetch=watch), Result)
    assert asked == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_a_withdrawn_target_disappears(site):
    site.ask_child(DESCRIPTOR)
    assert len(list((site.state / "targets").iterdir())) == 1
    site.repository.withdraw([DESCRIPTOR], site.now)

    outcome = site.ask_child(DESCRIPTOR)

    assert listed(outcome) == set()
    assert outcome.targets == {DESCRIPTOR: None}
    assert list((site.state / "targets").iterdir()) == []


def test_an_older_repository_served_again_is_a_rollback(site):
    older = site.copy("older")
    site.repository.withdraw([DESCRIPTOR], site.now)
    assert listed(site.ask_child()) == set()

    attack = site.ask_child(
        DESCRIPTOR, fetch=lambda path: (older / path).read_bytes() if (older / path).exists() else None
    )

    assert kind_of(attack) is FailureKind.ROLLBACK
    assert listed(site.ask_child(DESCRIPTOR)) == set()


def test_a_repository_with_other_keys_is_not_believed(site, tmp_path):
    other = Site(tmp_path / "other")

    assert kind_of(site.ask(DESCRIPTOR, fetch=other.read)) is FailureKind.UNSIGNED

    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}


def test_a_new_root_that_the_pinned_one_did_not_sign_is_not_believed(site, tmp_path):
    other = Site(tmp_path / "other")
    forged: Metadata[Root] = Metadata.from_bytes(other.repository.trusted_root())
    forged.signed.version = 2
    forged.sign(signers_in(other.keys)["root"])

    attack = site.ask(DESCRIPTOR, fetch=replaced(other.read, "metadata/2.root.json", forged.to_bytes()))

    assert kind_of(attack) is FailureKind.UNSIGNED
    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}


def test_a_root_that_the_pinned_one_signed_is_followed(site):
    rotated: Metadata[Root] = Metadata.from_bytes(site.repository.trusted_root())
    old = signers_in(site.keys)
    write_private_key(site.keys / "timestamp.pem", SigningKey.generate())
    new = signers_in(site.keys)["timestamp"]
    rotated.signed.version = 2
    rotated.signed.revoke_key(old["timestamp"].public_key.keyid, "timestamp")
    rotated.signed.add_key(new.public_key, "timestamp")
    rotated.sign(old["root"])
    (site.served / "metadata/2.root.json").write_bytes(rotated.to_bytes())
    assert kind_of(site.ask()) is FailureKind.UNSIGNED, "the old timestamp has lost its key"
    Repository.open(site.served, site.keys).refresh(site.now, force=True)

    outcome = site.ask(DESCRIPTOR)

    assert isinstance(outcome, Result)
    assert outcome.versions["root"] == 2


def test_the_pinned_root_survives_whatever_happens_to_the_newest_one(site):
    site.ask()
    (site.state / "metadata/root.json").unlink()
    assert listed(site.ask()) == {DESCRIPTOR}


def test_a_root_left_by_somebody_else_does_not_replace_the_pinned_one(site, tmp_path):
    site.ask()
    other = Site(tmp_path / "other")
    shutil.rmtree(site.state / "metadata")
    (site.state / "metadata").mkdir()
    (site.state / "metadata/root.json").write_bytes(other.repository.trusted_root())

    assert kind_of(site.ask(fetch=other.read)) is FailureKind.UNSIGNED
    assert listed(site.ask()) == {DESCRIPTOR}


def test_expired_metadata_is_refused_and_works_again_once_it_is_signed_again(site):
    after_expiry = site.now + limits.TIMESTAMP_LIFE + timedelta(minutes=1)

    assert kind_of(site.ask(DESCRIPTOR, now=after_expiry)) is FailureKind.EXPIRED

    site.repository.refresh(after_expiry)
    assert listed(site.ask(DESCRIPTOR, now=after_expiry)) == {DESCRIPTOR}


def test_a_clock_in_1970_alone_bricks_nothing(site):
    assert isinstance(site.ask(now=datetime(1970, 1, 2, tzinfo=UTC)), Result)


def test_the_child_judges_expiry_by_its_parents_time(site):
    late = site.now + limits.TIMESTAMP_LIFE + timedelta(minutes=1)
    assert kind_of(site.ask_child(now=late)) is FailureKind.EXPIRED


def test_python_tuf_still_has_the_private_reference_time(site, tmp_path):
    for folder in ("m", "t"):
        (tmp_path / folder).mkdir()
    updater = Updater(str(tmp_path / "m"), "m/", str(tmp_path / "t"), bootstrap=site.repository.trusted_root())
    assert isinstance(updater._trusted_set.reference_time, datetime), "edgeops.trust.client sets it; pin tuf"


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_metadata_that_is_missing_is_told(site, name):
    attack = site.ask(DESCRIPTOR, fetch=replaced(site.read, f"metadata/{name}", None))
    assert kind_of(attack) is FailureKind.MISSING
    assert name in attack.detail
    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}


def test_a_listed_target_that_is_missing_is_told(site):
    path = f"targets/models/digits/{site.repository.listed()[DESCRIPTOR].sha256}.1-int8.json"
    assert kind_of(site.ask_child(DESCRIPTOR, fetch=replaced(site.read, path, None))) is FailureKind.MISSING
    assert isinstance(site.ask_child(DESCRIPTOR), Result)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("metadata/timestamp.json", FailureKind.OTHER),
        ("metadata/2.snapshot.json", FailureKind.LENGTH_OR_HASH),
        ("metadata/2.targets.json", FailureKind.LENGTH_OR_HASH),
    ],
)
def test_truncated_metadata_is_refused(site, path, kind):
    whole = site.read(path)
    assert kind_of(site.ask(DESCRIPTOR, fetch=replaced(site.read, path, whole[: len(whole) // 2]))) is kind
    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR}


def test_a_truncated_or_changed_target_is_refused(site):
    path = f"targets/models/digits/{site.repository.listed()[DESCRIPTOR].sha256}.1-int8.json"
    for data in (b'{"one":', b'{"one": 2}', b'{"one": 1}   '):
        assert kind_of(site.ask(DESCRIPTOR, fetch=replaced(site.read, path, data))) is FailureKind.LENGTH_OR_HASH
    assert isinstance(site.ask(DESCRIPTOR), Result)


def test_metadata_of_two_states_does_not_mix(site):
    old_targets, old_snapshot = site.read("metadata/2.targets.json"), site.read("metadata/2.snapshot.json")
    site.repository.publish({SECOND: b"{}"}, site.now)

    for name, data in (("3.snapshot.json", old_snapshot), ("3.targets.json", old_targets)):
        attack = site.ask(SECOND, fetch=replaced(site.read, f"metadata/{name}", data))
        assert kind_of(attack) is FailureKind.LENGTH_OR_HASH

    assert listed(site.ask(SECOND)) == {DESCRIPTOR, SECOND}


def test_oversized_metadata_is_not_taken_in(site):
    flood = b" " * (limits.MAX_METADATA_BYTES + 1)
    for name in ("2.root.json", "timestamp.json", "2.snapshot.json"):
        attack = site.ask(fetch=replaced(site.read, f"metadata/{name}", flood))
        assert kind_of(attack) is FailureKind.LENGTH_OR_HASH
    assert listed(site.ask()) == {DESCRIPTOR}


def test_a_target_larger_than_asked_for_is_not_fetched(site):
    asked: list[str] = []

    def watch(path: str) -> bytes | None:
        asked.append(path)
        return site.read(path)

    assert kind_of(site.ask(DESCRIPTOR, max_bytes=9, fetch=watch)) is FailureKind.LENGTH_OR_HASH
    assert not [path for path in asked if path.startswith("targets/")]


def test_no_contact_is_a_failure_of_the_way_and_not_of_trust(site):
    def unreachable(_path: str) -> bytes:
        raise TimeoutError("no answer within 30 s")

    outcome = site.ask_child(fetch=unreachable)

    assert kind_of(outcome) is FailureKind.TRANSPORT
    assert "no answer within 30 s" in outcome.detail


def test_a_device_that_was_never_enrolled_is_told_what_to_do(site):
    shutil.rmtree(site.state)
    outcome = site.ask_child()
    assert kind_of(outcome) is FailureKind.OTHER
    assert "edgeops-agent enrol" in outcome.detail


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
    with _served(site) as url:
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
    with _served(site) as url:
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


@contextmanager
def _served(site):
    handler = functools.partial(_Quiet, directory=str(site.served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
        pass


def _run(command: list[str], url: str) -> Result | Failure:
    with subprocess.Popen([*command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        return converse(
            child.stdin,
            child.stdout,
            ask=Ask(targets=(DESCRIPTOR,), max_bytes=1_000, now=int(time.time())),
            fetch=lambda _path: None,
        )
