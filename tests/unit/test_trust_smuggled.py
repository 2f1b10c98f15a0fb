"""What a file from machine to machine carries beside what is signed: nobody publishes what no signature covers."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edgeops import limits
from edgeops.errors import InputError, TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.change import check, decode_change, encode_change, is_signed, sign
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe
from edgeops.trust.signers import by_id, tuf_key

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LISTED = "notes/today"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def repository(tmp_path, keys):
    made = Repository.create(tmp_path / "repository", keys, NOW)
    made.publish({"notes/yesterday": b"old"}, NOW)
    return made


@pytest.fixture
def draft(repository):
    return Draft(repository.base(), NOW)


def signed(change, keys):
    sign(change, by_id(keys))
    assert is_signed(change)
    return decode_change(encode_change(change))


@pytest.mark.parametrize("place", ["../../outside/x", "{}/outside/x", "notes/more", "notes/yesterday"])
def test_content_that_no_signature_covers_is_neither_signed_upon_nor_written(draft, repository, keys, tmp_path, place):
    """Whoever carries the file may add to it."""
    (tmp_path / "outside").mkdir()
    draft.list({LISTED: b"new"})
    change = signed(draft.finish(), keys)
    path = place.format(tmp_path)
    spoilt = replace(change, files={**change.files, path: b"anything"})
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(TrustError, match="which it does not list anew; do not sign"):
        check(spoilt, now=NOW)
    with pytest.raises(TrustError, match="which it does not list anew"):
        repository.submit(spoilt, NOW)
    assert {file for file in tmp_path.rglob("*") if file.is_file()} <= {*before, tmp_path / "repository/.lock"}
    assert repository.submit(change, NOW)
    assert repository.read(LISTED) == b"new"


def test_a_change_of_root_alone_carries_no_content(draft, repository, keys):
    draft.renew(["root"])
    change = signed(draft.finish(), keys)
    with pytest.raises(TrustError, match="brings content of notes/more, which it does not list anew"):
        repository.submit(replace(change, files={"notes/more": b"x"}), NOW)
    assert repository.submit(change, NOW)


@pytest.mark.parametrize("path", ["../../outside/x", "/outside/x", "notes/../x", "notes//x", "", "Notes/x", "notes/.x"])
def test_a_listed_path_that_could_leave_the_folder_is_neither_signed_nor_published(draft, repository, keys, path):
    draft.list({path: b"x"})
    change = draft.finish()
    with pytest.raises(TrustError, match="no target path"):
        check(change, now=NOW)
    change = signed(change, keys)
    with pytest.raises(TrustError, match="no target path"):
        repository.submit(change, NOW)
    assert repository.read(path) is None


def test_a_path_is_no_longer_than_a_file_s_name_may_be(draft, repository, keys):
    longest = "n" * limits.MAX_TARGET_PATH
    draft.list({longest: b"x"})
    assert repository.submit(signed(draft.finish(), keys), NOW)
    assert repository.read(longest) == b"x"
    longer = Draft(repository.base(), NOW)
    longer.list({f"{longest}n": b"x"})
    with pytest.raises(TrustError, match="no target path"):
        check(longer.finish(), now=NOW)
    with pytest.raises(InputError, match="not a target path"):
        repository.publish({f"{longest}n": b"x"}, NOW)


def test_what_is_listed_and_taken_back_in_one_change_is_no_part_of_it(draft, repository, keys):
    draft.list({"notes/yesterday": b"other", LISTED: b"new"})
    draft.unlist(["notes/yesterday"])
    change = signed(draft.finish(), keys)
    check(change, now=NOW)
    assert repository.submit(change, NOW)
    assert set(repository.listed()) == {LISTED}


def swapped(keys, key_id):
    """Another key under the id by which people know one."""
    keys[key_id] = deepcopy(tuf_key(SigningKey.generate().public))
    keys[key_id].keyid = key_id


@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_a_key_under_the_id_of_another_is_not_signed_for(draft, repository, keys, role):
    """A signer is shown ids, and would read that nothing changes but until when it holds."""
    draft.renew(["root"])
    change = draft.finish()
    check(change, now=NOW)
    told = describe(change)
    swapped(change.root.signed.keys, change.root.signed.roles[role].keyids[0])
    assert describe(change) == told
    with pytest.raises(TrustError, match="is not the key that has this id; do not sign"):
        check(change, now=NOW)
    sign(change, by_id(keys))
    with pytest.raises(TrustError, match="is not the key that has this id"):
        repository.submit(change, NOW)


def test_an_id_without_a_key_is_not_signed_for(draft):
    draft.renew(["root"])
    change = draft.finish()
    change.root.signed.roles["snapshot"].keyids.append("abc")
    with pytest.raises(TrustError, match=r"^'abc' would be trusted, and which key that is the file does not say"):
        check(change, now=NOW)


def test_a_delegated_key_under_the_id_of_another_is_not_signed_for(draft):
    delegation = draft.delegate("gas", SigningKey.generate().public)
    change = draft.finish()
    check(change, now=NOW)
    swapped(change.targets.signed.delegations.keys, delegation.key_id)
    with pytest.raises(TrustError, match="is not the key that has this id; do not sign"):
        check(change, now=NOW)


@pytest.mark.parametrize(
    "spoilt", [{"keytype": "rsa"}, {"scheme": "other"}, {"keyval": {"public": "zz"}}, {"keyval": {}}]
)
def test_a_key_of_another_kind_than_ours_is_not_signed_for(draft, spoilt):
    """Devices could not verify by it, whoever has it."""
    draft.trust("root", [SigningKey.generate().public])
    change = draft.finish()
    key = change.root.signed.keys[change.root.signed.roles["root"].keyids[-1]]
    for name, value in spoilt.items():
        setattr(key, name, value)
    with pytest.raises(TrustError, match="is not the key that has this id; do not sign"):
        check(change, now=NOW)
