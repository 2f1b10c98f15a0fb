"""What a file from machine to machine carries beside what is signed: nobody publishes what no signature covers."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edgeops import limits
from edgeops.errors import InputError, TrustError
from edgeops.trust.change import check, decode_change, encode_change, is_signed, sign
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id

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
