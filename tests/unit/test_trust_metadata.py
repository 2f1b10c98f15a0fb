"""What a person's machine takes for metadata, and what it does not: nothing of a file from elsewhere may surprise it."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edgeops.errors import InputError, TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.change import check_base, decode_change, encode_change, follows, read_base, sign
from edgeops.trust.draft import Draft
from edgeops.trust.keyring import decode_fleet_keys
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id
from tests.delegating import delegate

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path):
    return Repository.create(tmp_path / "repository", tmp_path / "keys", NOW)


def signed_parts(repository):
    base = repository.base()
    return json.loads(base.root.to_bytes()), json.loads(base.targets.to_bytes())


def read(root, targets):
    return read_base([json.dumps(root).encode()], json.dumps(targets).encode())


def test_what_has_no_form_that_is_signed_is_no_metadata_and_it_is_told_what_it_lacks(repository):
    root, targets = signed_parts(repository)
    read(root, targets)
    root["signed"]["x-half"] = 0.5
    with pytest.raises(TrustError, match=r"^not TUF metadata of root: SerializationError$"):
        read(root, targets)


@pytest.mark.parametrize("key_id", [1, None])
def test_key_ids_that_are_no_texts_are_refused(repository, key_id):
    """python-tuf takes them as they come, and whoever sorts them stumbles."""
    delegate(repository, "gas", NOW)
    root, targets = signed_parts(repository)
    targets["signed"]["delegations"]["roles"][0]["keyids"] = [key_id]
    with pytest.raises(TrustError, match="metadata of targets whose roles and key ids are no texts"):
        read(root, targets)
    root["signed"]["roles"]["snapshot"]["keyids"] = [key_id]
    with pytest.raises(TrustError, match="metadata of root whose roles and key ids are no texts"):
        read(root, targets)


def test_a_delegated_role_whose_name_is_no_text_is_refused(repository):
    delegate(repository, "gas", NOW)
    root, targets = signed_parts(repository)
    targets["signed"]["delegations"]["roles"][0]["name"] = 7
    with pytest.raises(TrustError, match="metadata of targets whose roles and key ids are no texts"):
        read(root, targets)


@pytest.mark.parametrize("data", [b'{"format":"\xff"}', b'{"\xff":1}'])
def test_a_file_with_what_is_no_text_is_no_change(data):
    with pytest.raises(InputError, match="this is no change to be signed"):
        decode_change(data)


def test_a_list_of_fleet_keys_with_what_is_no_text_is_none():
    with pytest.raises(TrustError, match=r"fleet/keys\.json is not a list of fleet keys"):
        decode_fleet_keys(b'{"epoch":1,"keys":[{"epoch":1,"public_hex":"\xff"}]}')


def test_a_root_follows_only_on_the_one_right_before_it(repository):
    first = repository.base().root
    assert follows(first.signed, first) is False
    draft = Draft(repository.base(), NOW)
    draft.renew(["root"])
    change = draft.finish()
    sign(change, by_id(repository._keys))
    assert follows(first.signed, change.root) is True
    change.root.signed.version = 3
    sign(change, by_id(repository._keys))
    assert follows(first.signed, change.root) is False


def test_a_first_root_needs_as_many_of_its_own_signatures_as_it_says(repository):
    """Whoever shows a root to a person for the first time must at least hold its keys."""
    draft = Draft(repository.base(), NOW)
    draft.trust("root", [SigningKey.generate().public], threshold=2)
    change = draft.finish()
    sign(change, by_id(repository._keys))
    base = replace(change.base, roots=(change.root,))
    with pytest.raises(TrustError, match="root 2 is not signed by its own keys"):
        check_base(base)


def test_a_file_is_the_same_after_it_travelled(repository):
    draft = Draft(repository.base(), NOW)
    draft.renew(["root"])
    again = decode_change(encode_change(draft.finish()))
    assert (again.targets, again.begins_again, again.files) == (None, False, {})
    assert again.root == draft.finish().root
