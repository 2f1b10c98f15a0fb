"""What a device takes in of TUF metadata, and what it does not: under attack, and when time passes.

Every attack ends in a typed failure, and the metadata on disk serves the next honest answer.
"""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata, Root
from tuf.ngclient.updater import Updater

from edgeops import limits
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.frames import FailureKind, Result
from edgeops.trust.repository import Repository
from edgeops.trust.signers import signers_in
from tests.integration.trust_rig import DESCRIPTOR, SECOND, Site, kind_of, listed, replaced


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_the_child_asks_only_for_what_is_new(site):
    site.ask(DESCRIPTOR)
    asked: list[str] = []

    def watch(path: str) -> bytes | None:
        asked.append(path)
        return site.read(path)

    assert isinstance(site.ask(DESCRIPTOR, fetch=watch), Result)
    assert (site.state / "metadata/timestamp.json").exists()
    assert asked == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_a_withdrawn_target_disappears(site):
    site.ask(DESCRIPTOR)
    assert len(list((site.state / "targets").iterdir())) == 1
    site.repository.withdraw([DESCRIPTOR], site.now)

    outcome = site.ask(DESCRIPTOR)

    assert listed(outcome) == set()
    assert outcome.targets == {DESCRIPTOR: None}
    assert list((site.state / "targets").iterdir()) == []


def test_an_older_repository_served_again_is_a_rollback(site):
    older = site.copy("older")
    site.repository.withdraw([DESCRIPTOR], site.now)
    assert listed(site.ask()) == set()

    attack = site.ask(DESCRIPTOR, fetch=lambda path: (older / path).read_bytes() if (older / path).exists() else None)

    assert kind_of(attack) is FailureKind.ROLLBACK
    assert listed(site.ask(DESCRIPTOR)) == set()


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
    assert kind_of(site.ask(DESCRIPTOR, fetch=replaced(site.read, path, None))) is FailureKind.MISSING
    assert isinstance(site.ask(DESCRIPTOR), Result)


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

    assert isinstance(site.ask(DESCRIPTOR, max_bytes=10), Result)
    shutil.rmtree(site.state / "targets")
    assert kind_of(site.ask(DESCRIPTOR, max_bytes=9, fetch=watch)) is FailureKind.LENGTH_OR_HASH
    assert not [path for path in asked if path.startswith("targets/")]


def test_a_device_that_was_never_enrolled_is_told_what_to_do(site):
    shutil.rmtree(site.state)
    outcome = site.ask()
    assert kind_of(outcome) is FailureKind.OTHER
    assert "edgeops-agent enrol" in outcome.detail
