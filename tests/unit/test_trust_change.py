"""A change that travels: what a person is shown and signs, and what nobody shall sign."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edgeops.artifact.manifest import encode_value
from edgeops.errors import ConflictError, InputError, NotFoundError, TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities
from edgeops.trust.change import check, decode_change, encode_change, is_signed, sign, signatures
from edgeops.trust.draft import Draft
from edgeops.trust.issuing import new_issuer
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe, lists_models_only
from edgeops.trust.signers import by_id, prepare, promote, tuf_key
from tests.golden.tiny import tiny_artifact, tiny_descriptor

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MODEL = "models/tiny/1-int8.json"


@pytest.fixture
def repository(tmp_path):
    made = Repository.create(tmp_path / "repository", tmp_path / "keys", NOW)
    made.publish({"fleet/keys.json": b"{}"}, NOW)
    return made


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def draft(repository):
    return Draft(repository.base(), NOW)


def descriptor():
    return encode_value(tiny_descriptor(tiny_artifact("tiny", 1, "int8")))


def travelled(change):
    return decode_change(encode_change(change))


def test_a_change_survives_its_file_with_its_signatures(draft, keys, repository):
    draft.list({MODEL: descriptor()})
    change = travelled(draft.finish())
    assert not is_signed(change)
    assert len(sign(change, by_id(keys))) == 1
    again = travelled(change)
    check(again, now=NOW, pinned=repository.trusted_root())
    assert is_signed(again)
    assert again.files == {MODEL: descriptor()}


def test_who_must_still_sign_is_told_by_key(draft):
    public = SigningKey.generate().public
    draft.trust("root", [public], threshold=2)
    change = draft.finish()
    today, after = signatures(change)
    assert (today.what, today.threshold, today.missing) == ("root (by the keys of today)", 1, 1)
    assert (after.threshold, after.missing) == (2, 2)
    assert tuf_key(public).keyid in after.unsigned


def test_all_that_it_does_is_shown(draft):
    draft.list({MODEL: descriptor()})
    draft.unlist(["fleet/keys.json"])
    draft.delegate("gas", SigningKey.generate().public)
    draft.trust("root", [SigningKey.generate().public])
    shown = describe(draft.finish())
    assert any(line.startswith("root: 1 of 2 keys") for line in shown)
    assert any(line.startswith(f"+ {MODEL}: sha256:") and "promotion gate" in line for line in shown)
    assert "- fleet/keys.json" in shown
    assert any(line.startswith("+ delegation of gas to key") for line in shown)


def test_a_ca_is_shown_by_its_fingerprint(draft):
    authority = new_issuer(NOW).authority
    draft.list({AUTHORITIES_TARGET: encode_authorities([authority])})
    (line,) = (line for line in describe(draft.finish()) if AUTHORITIES_TARGET in line)
    assert line == f"+ {AUTHORITIES_TARGET}: CA {authority.fingerprint} until {authority.ends:%Y-%m-%d}"


def test_a_file_that_lists_a_model_does_nothing_else(repository):
    only, more = (Draft(repository.base(), NOW) for _ in range(2))
    only.list({MODEL: descriptor()})
    more.list({MODEL: descriptor()})
    more.delegate("gas", SigningKey.generate().public)
    assert lists_models_only(only.finish())
    assert not lists_models_only(more.finish())


def test_a_descriptor_under_another_name_is_not_signed(draft):
    draft.list({"models/other/1-int8.json": descriptor()})
    with pytest.raises(TrustError, match="describes models/tiny"):
        describe(draft.finish())


def test_content_that_is_not_in_the_file_is_not_signed(draft):
    draft.list({MODEL: descriptor()})
    with pytest.raises(TrustError, match="its content is not in the file"):
        check(replace(draft.finish(), files={}), now=NOW)
    with pytest.raises(TrustError, match="with another content"):
        check(replace(draft.finish(), files={MODEL: b"{}"}), now=NOW)


def test_on_top_of_another_root_than_was_seen_before_nothing_is_signed(draft, tmp_path, repository):
    """A server in other hands shows a state of its own, in which the evil part is there already."""
    other = Repository.create(tmp_path / "other", tmp_path / "other-keys", NOW)
    forged = Draft(other.base(), NOW)
    forged.list({MODEL: descriptor()})
    check(forged.finish(), now=NOW)
    with pytest.raises(TrustError, match="another root 1 than was seen here before"):
        check(forged.finish(), now=NOW, pinned=repository.trusted_root())


def test_an_older_state_than_was_seen_before_is_not_signed(draft, repository, keys):
    draft.list({MODEL: descriptor()})
    renewed = Draft(repository.base(), NOW)
    renewed.renew(["root"])
    change = renewed.finish()
    sign(change, by_id(keys))
    repository.submit(change, NOW)
    with pytest.raises(TrustError, match="older than what is trusted"):
        check(draft.finish(), now=NOW, pinned=repository.trusted_root())


def test_targets_of_today_that_nobody_signed_are_not_built_upon(draft):
    draft.list({MODEL: descriptor()})
    change = draft.finish()
    targets = deepcopy(change.base.targets)
    targets.signed.targets.clear()
    with pytest.raises(TrustError, match="not signed by the targets keys of today"):
        check(replace(change, base=replace(change.base, targets=targets)), now=NOW)


@pytest.mark.parametrize("days", [-1, 400])
def test_nobody_signs_what_has_ended_or_holds_for_ever(draft, days):
    draft.list({MODEL: descriptor()})
    change = draft.finish()
    change.targets.signed.expires = NOW + timedelta(days=days)
    with pytest.raises(TrustError, match="clock"):
        check(change, now=NOW)


def test_what_another_change_overtook_is_made_again(repository, keys):
    first, second = (Draft(repository.base(), NOW) for _ in range(2))
    first.list({MODEL: descriptor()})
    second.unlist(["fleet/keys.json"])
    changes = [one.finish() for one in (first, second)]
    for change in changes:
        sign(change, by_id(keys))
    assert repository.submit(changes[0], NOW)
    assert not repository.submit(changes[0], NOW), "harmless to repeat"
    with pytest.raises(ConflictError, match="make it again"):
        repository.submit(changes[1], NOW)


def test_a_threshold_that_its_keys_cannot_meet_is_refused(draft, repository):
    with pytest.raises(InputError, match="need 3 signatures"):
        draft.trust("root", [SigningKey.generate().public], threshold=3)
    only = next(key.key_id for key in repository.role_keys() if key.role == "root")
    with pytest.raises(InputError, match="0 keys"):
        Draft(repository.base(), NOW).revoke(only)


def test_keys_of_the_server_are_rotated_and_not_revoked(draft, repository):
    snapshot = next(key.key_id for key in repository.role_keys() if key.role == "snapshot")
    with pytest.raises(InputError, match="edgeops key rotate snapshot"):
        draft.revoke(snapshot)
    with pytest.raises(NotFoundError, match="no key 'ffff"):
        draft.revoke("ffff" * 4)


def test_a_key_serves_one_role(draft, repository):
    known = repository.role_keys()[0]
    with pytest.raises(ConflictError, match="trusted already"):
        draft.trust("targets", [type(SigningKey.generate().public).from_hex(known.public_hex)])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": "edgeops-change-1"}', b"\xff", b"null"])
def test_what_is_no_change_is_refused(data):
    with pytest.raises(InputError, match="this is no change"):
        decode_change(data)


def test_a_new_key_takes_its_place_only_once_it_is_trusted(keys, repository):
    before = (keys / "root.pem").read_bytes()
    public = prepare(keys, "root")
    assert promote(keys, set()) == ()
    assert (keys / "root.pem").read_bytes() == before
    assert promote(keys, {tuf_key(public).keyid}, keep=True) == ("root",)
    assert (keys / "root.old.pem").read_bytes() == before
    assert promote(keys, {tuf_key(public).keyid}) == ()
