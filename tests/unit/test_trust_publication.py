"""What the repository signs by itself: with which keys, for how long, how large, and nothing that was not asked for."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata

from edgeops import limits
from edgeops.errors import ConfigError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.change import sign
from edgeops.trust.draft import Draft
from edgeops.trust.publication import Publication
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id, signer_of
from edgeops.trust.storage import Storage
from tests.delegating import delegate, undelegate
from tests.integration.trust_rig import DESCRIPTOR, Site, listed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AUTO = "models/digits/auto/2-int8.json"
SIGNED = "models/digits/1-int8.json"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "repository"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def repository(folder, keys):
    return Repository.create(folder, keys, NOW)


def snapshot_of(folder):
    timestamp = Metadata.from_file(str(folder / "metadata/timestamp.json"))
    return Metadata.from_file(str(folder / f"metadata/{timestamp.signed.snapshot_meta.version}.snapshot.json"))


def current(folder, role):
    return Metadata.from_file(
        str(folder / f"metadata/{snapshot_of(folder).signed.meta[f'{role}.json'].version}.{role}.json")
    )


def test_a_repository_and_its_keys_may_begin_in_folders_that_are_not_there(tmp_path):
    made = Repository.create(tmp_path / "a/b/repository", tmp_path / "c/d/keys", NOW)
    assert made.listed() == {}
    assert len(list((tmp_path / "c/d/keys").iterdir())) == 4


def test_a_snapshot_vouches_for_the_bytes_of_all_that_it_names_from_the_first_one_on(repository, folder):
    for _ in range(2):
        meta = snapshot_of(folder).signed.meta
        files = {name: (folder / f"metadata/{one.version}.{name}").read_bytes() for name, one in meta.items()}
        assert {name: (one.length, one.hashes) for name, one in meta.items()} == {
            name: (len(data), {"sha256": hashlib.sha256(data).hexdigest()}) for name, data in files.items()
        }
        delegate(repository, "digits", NOW)
    assert set(snapshot_of(folder).signed.meta) == {"targets.json", "auto-digits.json"}


def test_what_a_delegated_key_signs_later_holds_no_longer_than_its_delegation(repository, folder):
    end = delegate(repository, "digits", NOW).expires
    repository.publish({AUTO: b"{}"}, NOW + timedelta(days=40))
    assert current(folder, "auto-digits").signed.expires == end


# -- with which keys --------------------------------------------------------------------------


def test_a_key_that_was_replaced_leaves_no_signature_behind(repository, folder, keys):
    draft = Draft(repository.base(), NOW)
    for role in ("snapshot", "timestamp"):
        draft.replace(role, draft.base.root.signed.roles[role].keyids, [repository.prepare_key(role)])
    change = draft.finish()
    sign(change, by_id(keys))
    assert repository.submit(change, NOW)
    root = repository.base().root.signed
    assert list(snapshot_of(folder).signatures) == root.roles["snapshot"].keyids
    timestamp = Metadata.from_file(str(folder / "metadata/timestamp.json"))
    assert list(timestamp.signatures) == root.roles["timestamp"].keyids


def test_a_role_of_two_keys_that_must_both_sign_is_signed_by_both(tmp_path):
    site = Site(tmp_path)
    pair = [SigningKey.generate() for _ in range(2)]
    draft = Draft(site.repository.base(), site.now)
    draft.replace("snapshot", draft.base.root.signed.roles["snapshot"].keyids, [key.public for key in pair])
    change = draft.finish()
    change.root.signed.roles["snapshot"].threshold = 2
    both = {signer.public_key.keyid: signer for signer in map(signer_of, pair)}
    signers = by_id(site.keys)
    sign(change, signers)
    with pytest.raises(ConfigError, match="0 of the 2 snapshot keys"):
        site.repository.submit(change, site.now)

    assert Repository(site.served, signers | both, keys=site.keys).submit(change, site.now)

    assert set(snapshot_of(site.served).signatures) == set(both)
    assert listed(site.ask()) == {DESCRIPTOR}


def test_withdrawing_needs_the_keys_of_what_lists_it_and_no_other(repository, folder, keys):
    for model in ("digits", "gas"):
        delegate(repository, model, NOW)
        repository.publish({f"models/{model}/auto/2-int8.json": b"{}"}, NOW)
    (keys / "auto-gas.pem").unlink()
    before = current(folder, "auto-gas").signed.version

    assert Repository.open(folder, keys).withdraw([AUTO], NOW) == (AUTO,)

    assert current(folder, "auto-gas").signed.version == before
    assert set(repository.listed()) == {"models/gas/auto/2-int8.json"}


def test_without_the_keys_for_all_of_it_nothing_is_withdrawn(repository, folder, keys):
    delegate(repository, "digits", NOW)
    repository.publish({SIGNED: b"{}", AUTO: b"{}"}, NOW)
    (keys / "targets.pem").unlink()
    with pytest.raises(ConfigError, match="the targets key is not on this machine"):
        Repository.open(folder, keys).withdraw([AUTO, SIGNED], NOW)
    assert set(repository.listed()) == {SIGNED, AUTO}


def test_keys_get_the_names_of_their_roles_with_the_first_look_after_a_crash(repository, folder, keys, tmp_path):
    """The change is published, and the power went before the keys that it trusts took their places."""
    draft = Draft(repository.base(), NOW)
    draft.replace("snapshot", draft.base.root.signed.roles["snapshot"].keyids, [repository.prepare_key("snapshot")])
    change = draft.finish()
    sign(change, by_id(keys))
    (tmp_path / "elsewhere").mkdir()
    assert Repository(folder, by_id(keys), keys=tmp_path / "elsewhere").submit(change, NOW)
    waiting = (keys / "snapshot.next.pem").read_bytes()

    assert Repository.open(folder, keys).refresh(NOW) is False

    assert (keys / "snapshot.pem").read_bytes() == waiting
    assert not (keys / "snapshot.next.pem").exists()


def test_the_key_of_a_model_that_is_delegated_no_more_goes_with_the_next_look(repository, folder, keys):
    delegate(repository, "digits", NOW)
    key = (keys / "auto-digits.pem").read_bytes()
    undelegate(repository, "digits", NOW)
    (keys / "auto-digits.pem").write_bytes(key)
    repository.refresh(NOW)
    assert not (keys / "auto-digits.pem").exists()


# -- for how long -----------------------------------------------------------------------------


def test_at_half_of_its_life_metadata_is_still_young_and_a_second_later_it_is_not(repository):
    half = NOW + limits.TIMESTAMP_LIFE / 2
    assert repository.refresh(half) is False
    assert repository.refresh(half + timedelta(seconds=1)) is True


def test_what_a_delegation_lists_may_be_used_until_it_ends_and_not_then(repository):
    end = delegate(repository, "digits", NOW).expires
    repository.publish({SIGNED: b"{}", AUTO: b"{}"}, NOW)
    assert set(repository.listed(at=end - timedelta(seconds=1))) == {SIGNED, AUTO}
    assert set(repository.listed(at=end)) == {SIGNED}
    assert set(repository.listed()) == {SIGNED, AUTO}
    assert repository.can_sign(AUTO, end - timedelta(seconds=1)) is True
    assert repository.can_sign(AUTO, end) is False


def test_a_change_that_was_published_before_is_not_published_again(repository, keys):
    draft = Draft(repository.base(), NOW)
    draft.renew(["targets"])
    change = draft.finish()
    sign(change, by_id(keys))
    assert repository.submit(change, NOW) is True
    assert repository.submit(change, NOW) is False


# -- how large --------------------------------------------------------------------------------


def test_what_is_signed_is_as_large_as_devices_accept_and_not_larger(tmp_path):
    site = Site(tmp_path)
    delegate(site.repository, "digits", site.now)
    site.repository.publish({AUTO: b"{}"}, site.now)
    storage = Storage(site.served)
    publication = Publication(storage, by_id(site.keys))

    def pad(count):
        now = storage.load()
        now.listing("auto-digits").signed.unrecognized_fields["x-pad"] = "x" * count
        publication.list_delegated(now, ["auto-digits"], site.now)
        file = site.served / f"metadata/{now.listing('auto-digits').signed.version}.auto-digits.json"
        return file.stat().st_size

    room = limits.MAX_METADATA_BYTES - pad(0)
    assert pad(room) == limits.MAX_METADATA_BYTES
    assert AUTO in listed(site.ask(AUTO))
    before = (site.served / "metadata/timestamp.json").read_bytes()
    with pytest.raises(ConfigError, match=rf"^5\.auto-digits\.json would have {limits.MAX_METADATA_BYTES + 1} bytes"):
        pad(room + 1)
    assert (site.served / "metadata/timestamp.json").read_bytes() == before


def test_a_change_of_root_or_targets_is_no_larger_than_devices_accept(repository, folder, keys):
    for role, named in (("root", "2.root.json"), ("targets", "2.targets.json")):
        draft = Draft(repository.base(), NOW)
        draft.renew([role])
        change = draft.finish()
        getattr(change, role).signed.unrecognized_fields["x-pad"] = "x" * limits.MAX_METADATA_BYTES
        sign(change, by_id(keys))
        with pytest.raises(ConfigError, match=f"^{named} would have"):
            repository.submit(change, NOW)
        assert not (folder / "pending-change.json").exists()
        assert not (folder / "metadata" / named).exists()


def test_clocks_of_two_machines_may_differ_by_a_day_before_what_one_signed_is_signed_again(repository):
    ahead = NOW + timedelta(days=10)
    assert repository.refresh(ahead, force=True)
    assert not repository.refresh(ahead - timedelta(days=1))
    assert repository.refresh(ahead - timedelta(days=1, seconds=1))


def test_a_clock_that_stands_more_than_a_day_before_the_root_signs_nothing_again(repository):
    day = timedelta(days=1)
    repository.refresh(NOW + 10 * day, force=True)
    assert not repository.refresh(NOW - day - timedelta(seconds=1))
    assert repository.refresh(NOW - day)
