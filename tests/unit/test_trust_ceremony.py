"""What is asked of a change before anybody signs it, what its signer reads, and how a root is begun again."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from edgeops import limits
from edgeops.artifact.acceptance import acceptance_path, encode_acceptance, make_acceptance
from edgeops.artifact.manifest import Override, Promotion, Rule, encode_value
from edgeops.errors import ConflictError, InputError, NotFoundError, TrustError
from edgeops.local import ceremony
from edgeops.protocol.keys import SigningKey
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities
from edgeops.trust.change import (
    check,
    check_shape,
    decode_change,
    encode_change,
    follows,
    is_signed,
    read_base,
    sign,
    signatures,
)
from edgeops.trust.draft import Draft, find_key, trusted_keys
from edgeops.trust.issuing import new_issuer
from edgeops.trust.keyring import FLEET_KEYS_TARGET, encode_fleet_keys, fleet_keys_of
from edgeops.trust.moment import check_moment, sign_moment
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe, descriptors, lists_models_only
from edgeops.trust.signers import by_id, prepare, tuf_key
from tests.golden.tiny import tiny_artifact, tiny_descriptor, tiny_manifest

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MODEL = "models/tiny/1-int8.json"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def repository(tmp_path, keys):
    made = Repository.create(tmp_path / "repository", keys, NOW)
    made.publish({"fleet/keys.json": b"{}"}, NOW)
    return made


@pytest.fixture
def draft(repository):
    return Draft(repository.base(), NOW)


def new_keys(count=1):
    return [SigningKey.generate().public for _ in range(count)]


def ids_of(repository, role):
    return [key.key_id for key in repository.role_keys() if key.role == role]


# -- what nobody shall sign -----------------------------------------------------------------


def test_a_file_larger_than_a_change_can_be_is_not_read():
    with pytest.raises(InputError, match=f"at most {limits.MAX_CHANGE_BYTES} bytes"):
        decode_change(b" " * (limits.MAX_CHANGE_BYTES + 1))
    with pytest.raises(InputError, match="no change"):
        decode_change(b" " * limits.MAX_CHANGE_BYTES)


def test_a_change_of_nothing_is_not_signed(draft):
    with pytest.raises(TrustError, match="changes nothing"):
        check(draft.finish(), now=NOW)


@pytest.mark.parametrize("role", ["root", "targets"])
@pytest.mark.parametrize("version", [1, 3, 4])
def test_only_the_next_version_is_signed(draft, role, version):
    draft.renew([role])
    change = draft.finish()
    getattr(change, role).signed.version = version if role == "root" else version + 1
    if getattr(change, role).signed.version == getattr(change.base, role).signed.version + 1:
        check(change, now=NOW)
    else:
        with pytest.raises(TrustError, match="does not follow on"):
            check_shape(change, now=NOW)


def test_a_root_without_consistent_snapshots_is_not_signed(draft):
    draft.renew(["root"])
    change = draft.finish()
    change.root.signed.consistent_snapshot = False
    with pytest.raises(TrustError, match="consistent snapshots"):
        check(change, now=NOW)


def renewed(repository, keys, count):
    """So many new roots, each signed by the keys of the one before."""
    for _ in range(count):
        draft = Draft(repository.base(), NOW)
        draft.trust("root", [prepare(keys, "root")], replaces=ids_of(repository, "root")[0])
        change = draft.finish()
        sign(change, by_id(keys))
        repository.submit(change, NOW)


def test_a_root_of_today_that_descends_from_the_one_that_was_seen_is_built_upon(repository, keys):
    first = repository.trusted_root()
    renewed(repository, keys, 2)
    draft = Draft(repository.base(), NOW)
    draft.list({MODEL: encode_value(tiny_descriptor(tiny_artifact()))})
    change = draft.finish()
    check(change, now=NOW, pinned=first)
    sign(change, by_id(keys))
    assert is_signed(change)


def test_a_chain_with_a_root_that_the_one_before_did_not_sign_is_not_built_upon(repository, keys):
    first = repository.trusted_root()
    renewed(repository, keys, 2)
    base = repository.base()
    middle = deepcopy(base.roots[1])
    middle.signatures.pop(ids_of_root(base.roots[0])[0])
    draft = Draft(replace(base, roots=(base.roots[0], middle, base.roots[2])), NOW)
    draft.renew(["targets"])
    with pytest.raises(TrustError, match="root 2 was not signed by the keys of the one before"):
        check(draft.finish(), now=NOW, pinned=first)


def ids_of_root(root):
    return root.signed.roles["root"].keyids


def test_a_chain_that_lacks_a_root_is_not_built_upon(repository, keys):
    first = repository.trusted_root()
    renewed(repository, keys, 2)
    base = repository.base()
    draft = Draft(replace(base, roots=(base.roots[0], base.roots[2])), NOW)
    draft.renew(["targets"])
    with pytest.raises(TrustError, match="root 3 was not signed by the keys of the one before"):
        check(draft.finish(), now=NOW, pinned=first)
    assert not follows(base.roots[0].signed, base.roots[2])
    assert follows(base.roots[0].signed, base.roots[1]) is True


def test_a_first_root_that_did_not_sign_itself_is_not_built_upon(repository):
    base = repository.base()
    unsigned = deepcopy(base.root)
    unsigned.signatures.clear()
    draft = Draft(replace(base, roots=(unsigned,)), NOW)
    draft.renew(["targets"])
    with pytest.raises(TrustError, match="root 1 is not signed by its own keys"):
        check(draft.finish(), now=NOW)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"signed":{"_type":"root"}}', b"[" * 5000])
def test_what_is_no_metadata_is_told(repository, data):
    base = repository.base()
    with pytest.raises(TrustError, match="not TUF metadata of root"):
        read_base([data], base.targets.to_bytes())


def test_metadata_of_another_role_is_told(repository):
    base = repository.base()
    with pytest.raises(TrustError, match="metadata of targets where root is expected"):
        read_base([base.targets.to_bytes()], base.targets.to_bytes())


def test_what_would_hold_a_day_longer_than_anything_does_is_still_signed(draft):
    draft.renew(["targets"])
    change = draft.finish()
    change.targets.signed.expires = NOW + limits.TARGETS_LIFE + timedelta(days=1)
    check(change, now=NOW)
    change.targets.signed.expires += timedelta(seconds=1)
    with pytest.raises(TrustError, match="longer than anything does"):
        check(change, now=NOW)
    change.targets.signed.expires = NOW
    with pytest.raises(TrustError, match="has ended"):
        check(change, now=NOW)


# -- drafts ---------------------------------------------------------------------------------


def test_a_key_takes_the_place_of_another_one(draft, repository):
    (public,) = new_keys()
    draft.trust("targets", [public], replaces=ids_of(repository, "targets")[0][:12])
    root = draft.finish().root_after
    assert root.roles["targets"].keyids == [tuf_key(public).keyid]
    with pytest.raises(NotFoundError, match="is a key of root, not of targets"):
        Draft(repository.base(), NOW).trust("targets", new_keys(), replaces=ids_of(repository, "root")[0])


def test_who_is_revoked_is_told_and_the_others_must_do(repository, keys):
    draft = Draft(repository.base(), NOW)
    draft.trust("root", [prepare(keys, "root")], threshold=2)
    both = draft.finish()
    sign(both, by_id(keys))
    repository.submit(both, NOW)
    old = ids_of(repository, "root")[0]
    with pytest.raises(InputError, match="1 keys and need 2 signatures"):
        Draft(repository.base(), NOW).revoke(old)
    last = Draft(repository.base(), NOW)
    gone = last.revoke(old.upper()[:20], threshold=1)
    assert (gone.role, gone.key_id) == ("root", old)
    assert old not in last.finish().root_after.roles["root"].keyids
    assert last.finish().root_after.roles["root"].threshold == 1


def test_keys_of_a_role_are_replaced_and_its_threshold_stays(draft, repository):
    fresh = new_keys(2)
    draft.replace("snapshot", ids_of(repository, "snapshot"), fresh[:1])
    root = draft.finish().root_after
    assert root.roles["snapshot"].keyids == [tuf_key(fresh[0]).keyid]
    assert root.roles["snapshot"].threshold == 1
    assert root.version == 2


def test_targets_are_signed_again_where_those_who_may_have_changed(draft, repository):
    draft.replace("targets", ids_of(repository, "targets"), new_keys())
    change = draft.finish()
    assert change.targets.signed.version == change.base.targets.signed.version + 1
    kept = Draft(repository.base(), NOW)
    kept.trust("targets", new_keys())
    assert kept.finish().targets is None, "today's signature is enough"


def test_a_role_has_no_more_keys_than_people_can_keep(draft):
    draft.trust("root", new_keys(limits.MAX_ROLE_KEYS - 1))
    with pytest.raises(InputError, match=f"root would have {limits.MAX_ROLE_KEYS + 1} keys"):
        draft.trust("root", new_keys())


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "auto-gas"])
def test_only_root_and_targets_are_held_by_people(draft, role):
    with pytest.raises(InputError, match="people hold keys of root and targets"):
        draft.trust(role, new_keys())
    with pytest.raises(InputError, match="people hold keys of root and targets"):
        draft.renew([role])


def test_a_threshold_is_between_one_and_all_keys(draft):
    draft.trust("targets", new_keys(), threshold=2)
    with pytest.raises(InputError, match="need 0 signatures"):
        draft.trust("targets", [], threshold=0)


def test_a_key_is_found_by_the_beginning_of_its_id(repository):
    root = repository.base().root.signed
    everyone = trusted_keys(root)
    assert [one.role for one in everyone] == ["root", "targets", "snapshot", "timestamp"]
    assert find_key(root, everyone[1].key_id[:16]) == everyone[1]
    with pytest.raises(NotFoundError, match="no key ''"):
        find_key(root, "")
    shared = deepcopy(root)
    for role, first in (("root", "xx1"), ("targets", "xx2")):  # no id of a real key begins so
        shared.keys[first] = shared.keys[shared.roles[role].keyids[0]]
        shared.roles[role].keyids = [first]
    with pytest.raises(InputError, match="2 keys begin with xx"):
        find_key(shared, "xx")


def test_a_delegation_that_is_not_there_cannot_be_taken_back(draft):
    with pytest.raises(NotFoundError, match="gas has no delegation"):
        draft.undelegate("gas")


def test_a_new_life_is_a_whole_one(draft):
    draft.renew(["root", "targets"])
    change = draft.finish()
    assert change.root.signed.expires == NOW + limits.ROOT_LIFE
    assert change.targets.signed.expires == NOW + limits.TARGETS_LIFE


# -- a root that begins again ---------------------------------------------------------------


@pytest.fixture
def begun(draft, keys, tmp_path):
    """All keys lost and made anew, in a folder of their own."""
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    draft.begin_again({role: prepare(fresh, role) for role in ("root", "targets", "snapshot", "timestamp")})
    change = decode_change(encode_change(draft.finish()))
    sign(change, by_id(fresh))
    return change, fresh


def test_a_root_that_begins_again_stands_for_itself_and_says_so(begun):
    change, fresh = begun
    root = change.root_after
    assert set(root.keys) == set(by_id(fresh))
    assert [root.roles[role].threshold for role in ("root", "targets", "snapshot", "timestamp")] == [1] * 4
    assert change.targets is not None
    assert change.begins_again
    assert [one.what for one in signatures(change)] == ["root", "targets"]
    assert is_signed(change)
    assert "BEGINS AGAIN: devices refuse it until somebody told each of them (edgeops-agent repin)" in describe(change)


def test_a_server_takes_a_root_that_begins_again_only_where_it_is_told_to(begun, repository, keys, tmp_path):
    change, fresh = begun
    with pytest.raises(ConflictError, match="edgeops key begin-again"):
        repository.submit(change, NOW)
    for path in fresh.iterdir():
        (keys / path.name).write_bytes(path.read_bytes())
    again = Repository.open(tmp_path / "repository", keys)
    assert again.submit(change, NOW, begin_again=True)
    assert ids_of(again, "root") == change.root_after.roles["root"].keyids


# -- publishing -----------------------------------------------------------------------------


def test_what_too_few_signed_is_not_published_and_it_says_who_is_missing(repository, keys):
    draft = Draft(repository.base(), NOW)
    draft.trust("root", new_keys(), threshold=2)
    change = draft.finish()
    sign(change, by_id(keys))
    with pytest.raises(ConflictError, match="root has 1 of 2 signatures; let others sign it"):
        repository.submit(change, NOW)


def test_a_root_whose_targets_do_not_hold_is_not_published(repository, keys):
    draft = Draft(repository.base(), NOW)
    draft.replace("targets", ids_of(repository, "targets"), new_keys())
    change = replace(draft.finish(), targets=None)
    sign(change, by_id(keys))
    with pytest.raises(ConflictError, match="the targets of today do not hold with the keys that this root trusts"):
        repository.submit(change, NOW)


def test_the_content_of_a_listed_target_is_read_and_of_no_other(repository):
    assert repository.read("fleet/keys.json") == b"{}"
    assert repository.read("fleet/other.json") is None


# -- what a signer reads ----------------------------------------------------------------------


def test_each_kind_of_target_is_told_in_its_own_words(draft):
    public = new_keys()[0]
    issuer = new_issuer(NOW)
    acceptance = make_acceptance(
        tiny_manifest(), np.zeros((3, 1, 4), np.float32), [0, 1, 2], floor=0.9, class_floors=(0.0, 0.0, 0.0)
    )
    draft.list(
        {
            FLEET_KEYS_TARGET: encode_fleet_keys(fleet_keys_of(public, epoch=4)),
            AUTHORITIES_TARGET: encode_authorities([issuer.authority]),
            acceptance_path("tiny"): encode_acceptance(acceptance),
            "notes/readme.txt": b"seven b",
        }
    )
    shown = describe(draft.finish())
    assert f"~ {FLEET_KEYS_TARGET}: fleet key {public.hex[:8]} of epoch 4" in shown
    ends = issuer.authority.ends
    assert f"+ {AUTHORITIES_TARGET}: CA {issuer.authority.fingerprint} until {ends:%Y-%m-%d}" in shown
    assert "+ models/tiny/acceptance: 3 inputs, floor 90.0%" in shown
    assert "+ notes/readme.txt: 7 B" in shown


def test_an_artifact_is_told_by_what_it_is_and_how_it_was_judged(draft):
    descriptor = tiny_descriptor(tiny_artifact())
    draft.list({MODEL: encode_value(descriptor)})
    (line,) = (one for one in describe(draft.finish()) if MODEL in one)
    assert line == f"+ {MODEL}: {descriptor.digest}, {descriptor.size_bytes} B, accuracy 0.99, promotion gate passed"
    assert descriptors(draft.finish()) == {MODEL: descriptor}


FAILED = Promotion(passed=False, rules=(Rule(name="keeps-its-budgets", passed=False, reason="p95 9 of 5 ms"),))


def requested(draft, folder, promotion):
    """A file that asks to list a model of which its promotion gate said this."""
    descriptor = msgspec.structs.replace(tiny_descriptor(tiny_artifact()), promotion=promotion)
    draft.list({MODEL: encode_value(descriptor)})
    file = folder / "tiny.change"
    file.write_bytes(encode_change(draft.finish()))
    return file


def test_what_its_promotion_gate_refused_is_not_signed(draft, keys, tmp_path):
    file = requested(draft, tmp_path, FAILED)
    before = file.read_bytes()
    with pytest.raises(ConflictError, match=r"keeps-its-budgets: p95 9 of 5 ms; an approver may override it.*tiny@1"):
        ceremony.sign_file(file, keys=keys, now=NOW)
    assert file.read_bytes() == before


def test_what_an_approver_let_go_past_its_promotion_gate_is_signed_and_the_remark_is_shown(draft, keys, tmp_path):
    override = Override(by="ann", at="2026-11-26T11:00:00Z", remark="only for the rehearsal")
    file = requested(draft, tmp_path, msgspec.structs.replace(FAILED, override=override))
    signed = ceremony.sign_file(file, keys=keys, now=NOW)
    assert is_signed(signed.change)
    assert any("FAILED, overridden by ann: only for the rehearsal" in line for line in describe(signed.change))


def test_keys_are_told_as_they_are_afterwards(draft, repository):
    (old,) = ids_of(repository, "root")
    (public,) = new_keys()
    draft.trust("root", [public], replaces=old)
    shown = describe(draft.finish())
    ends = NOW + limits.ROOT_LIFE
    assert shown[0] == f"root 1 -> 2, holds until {ends:%Y-%m-%d}"
    assert shown[1] == f"root: 1 of 1 keys: +{tuf_key(public).keyid[:8]} -{old[:8]}"
    assert shown[2] == f"targets: 1 of 1 keys: {ids_of(repository, 'targets')[0][:8]}"


def test_a_descriptor_that_is_none_is_not_signed(draft):
    draft.list({MODEL: b"{}"})
    with pytest.raises(TrustError, match="is no descriptor of an artifact"):
        describe(draft.finish())


@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 2}, {"terminating": False}, {"paths": ["models/*/auto/*"]}, {"paths": ["models/gas/*"]},
        {"unrecognized_fields": {"x-edgeops-expires": "2026-12-01T00:00:00Z", "x-more": 1}},
    ],
)  # fmt: skip
def test_a_delegation_that_says_more_than_ours_do_is_not_signed(draft, changed):
    draft.delegate("gas", new_keys()[0])
    change = draft.finish()
    check(change, now=NOW)
    for name, value in changed.items():
        setattr(change.targets.signed.delegations.roles["auto-gas"], name, value)
    with pytest.raises(TrustError, match=r"the delegations \(auto-gas\) are not as edgeops key delegate makes them"):
        check(change, now=NOW)


def test_a_key_that_no_delegation_needs_is_not_signed(draft):
    draft.delegate("gas", new_keys()[0])
    change = draft.finish()
    stray = tuf_key(new_keys()[0])
    change.targets.signed.delegations.keys[stray.keyid] = stray
    with pytest.raises(TrustError, match=r"the delegations \(their keys\) are not as"):
        check(change, now=NOW)


def test_no_delegation_holds_longer_than_one_does(draft):
    draft.delegate("gas", new_keys()[0])
    change = draft.finish()
    role = change.targets.signed.delegations.roles["auto-gas"]
    for days, held in ((1, True), (2, False)):
        ends = NOW + limits.DELEGATION_LIFE + timedelta(days=days)
        role.unrecognized_fields["x-edgeops-expires"] = f"{ends:%Y-%m-%dT%H:%M:%SZ}"
        if held:
            check(change, now=NOW)
        else:
            with pytest.raises(TrustError, match="the delegation of gas would hold until"):
                check(change, now=NOW)


def test_a_change_of_root_lists_no_models_only(draft):
    draft.renew(["root"])
    assert lists_models_only(draft.finish()) is False


# -- what time it is --------------------------------------------------------------------------


def test_the_time_counts_if_a_fleet_key_signed_it_for_this_question():
    key = SigningKey.generate()
    keys = {key.public.key_id: key.public}
    nonce = bytes(range(16))
    signature = sign_moment(key, nonce, NOW)

    def asked(**changed):
        return check_moment(
            keys, **({"nonce": nonce, "at": NOW, "key_id": key.public.key_id, "signature": signature} | changed)
        )

    assert asked() == NOW
    assert asked(at=NOW.astimezone()) == NOW
    assert asked(at=NOW + timedelta(microseconds=999)) == NOW + timedelta(microseconds=999)
    for changed in ({"nonce": bytes(16)}, {"at": NOW + timedelta(milliseconds=1)}, {"signature": bytes(64)}):
        with pytest.raises(TrustError, match="not what the fleet key signed"):
            asked(**changed)
    with pytest.raises(TrustError, match="no key of this fleet"):
        asked(key_id="0" * 16)
    assert not key.public.verifies(key.sign(nonce), b"edgeops-moment-v1\0" + nonce)


# -- signatures -----------------------------------------------------------------------------


def test_people_sign_one_after_the_other_and_no_signature_is_lost(repository, keys, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    draft = Draft(repository.base(), NOW)
    draft.trust("root", [prepare(other, "root")], threshold=2)
    change = draft.finish()
    assert not is_signed(change)
    sign(change, by_id(other))
    assert not is_signed(change), "the keys of today have not signed"
    change = decode_change(encode_change(change))
    sign(change, by_id(keys))
    assert is_signed(change)
    assert [(one.what, len(one.signed), one.missing) for one in signatures(change)] == [
        ("root (by the keys of today)", 1, 0),
        ("root", 2, 0),
    ]
    assert repository.submit(change, NOW)


def test_a_file_that_is_nested_without_end_is_no_change():
    with pytest.raises(InputError, match="no change"):
        decode_change(b'{"format":"edgeops-change-1","root":' + b"[" * 5000)


def test_what_lies_before_the_root_that_was_seen_is_not_asked_about(repository, keys, tmp_path):
    renewed(repository, keys, 1)
    base = repository.base()
    stranger = Repository.create(tmp_path / "other", tmp_path / "other-keys", NOW).base().root
    draft = Draft(replace(base, roots=(stranger, base.roots[1])), NOW)
    draft.renew(["targets"])
    check(draft.finish(), now=NOW, pinned=repository.trusted_root())


def test_a_role_is_never_left_without_a_key(draft, repository):
    with pytest.raises(InputError, match="snapshot would have 0 keys"):
        draft.replace("snapshot", ids_of(repository, "snapshot"), [])


def test_a_delegation_tells_its_key_and_its_end(repository):
    (public,) = new_keys()
    made = Draft(repository.base(), NOW + timedelta(microseconds=7)).delegate("gas", public)
    assert (made.model, made.role, made.public_hex) == ("gas", "auto-gas", public.hex)
    assert made.expires == NOW + limits.DELEGATION_LIFE


def test_a_name_that_no_model_can_have_is_told_as_such(draft):
    with pytest.raises(InputError, match="not a model name"):
        draft.undelegate("../gas")


def test_lives_end_at_whole_seconds(repository):
    draft = Draft(repository.base(), NOW + timedelta(microseconds=7))
    draft.renew(["root"])
    assert draft.finish().root.signed.expires == NOW + limits.ROOT_LIFE
