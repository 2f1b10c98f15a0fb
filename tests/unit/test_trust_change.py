"""A change that travels: what a person is shown and signs, and what nobody shall sign."""

import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edgeops import limits
from edgeops.artifact.manifest import encode_value
from edgeops.errors import ConfigError, ConflictError, InputError, NotFoundError, TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities
from edgeops.trust.change import check, check_base, decode_change, encode_change, is_signed, read_base, sign, signatures
from edgeops.trust.delegation import delegate
from edgeops.trust.draft import Draft, find_key, trusted_keys
from edgeops.trust.issuing import new_issuer
from edgeops.trust.keyring import encode_fleet_keys, fleet_keys_of
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe, lists_models_only
from edgeops.trust.signers import by_id, prepare, promote, signer_of, tuf_key
from tests import delegating
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


def wider(targets):
    targets.delegations.roles["auto-gas"].paths = ["models/*"]


def goes_on(targets):
    targets.delegations.roles["auto-gas"].terminating = False


def one_more(targets):
    role = deepcopy(targets.delegations.roles["auto-gas"])
    role.name = "gas"
    targets.delegations.roles["gas"] = role


def another_model(targets):
    role = targets.delegations.roles.pop("auto-gas")
    targets.delegations.roles["auto-tiny"] = role
    role.name = "auto-tiny"


def a_key_beside(targets):
    key = tuf_key(SigningKey.generate().public)
    targets.delegations.keys[key.keyid] = key


@pytest.mark.parametrize("spoil", [wider, goes_on, one_more, another_model, a_key_beside])
def test_a_delegation_that_says_more_than_ours_do_is_not_signed_and_not_published(draft, keys, repository, spoil):
    """It would be shown as an ordinary one."""
    draft.delegate("gas", SigningKey.generate().public)
    change = draft.finish()
    spoil(change.targets.signed)
    with pytest.raises(TrustError, match="not as edgeops key delegate makes them"):
        check(change, now=NOW)
    sign(change, by_id(keys))
    with pytest.raises(TrustError, match="not as edgeops key delegate makes them"):
        repository.submit(change, NOW)


def test_a_delegation_that_holds_longer_than_one_does_is_not_signed(draft):
    draft.delegate("gas", SigningKey.generate().public)
    change = draft.finish()
    key = tuf_key(SigningKey.generate().public)
    for days, allowed in ((91, True), (92, False)):
        delegate(change.targets.signed, "gas", key, expires=NOW + timedelta(days=days))
        if allowed:
            check(change, now=NOW)
            continue
        with pytest.raises(TrustError, match="the delegation of gas would hold until"):
            check(change, now=NOW)


def test_everything_of_it_is_said_in_words(draft, repository):
    public, delegated, fleet = (SigningKey.generate().public for _ in range(3))
    ids = {key.role: key.key_id[:8] for key in repository.role_keys()}
    draft.trust("root", [public], threshold=2)
    draft.list(
        {MODEL: descriptor(), "fleet/keys.json": encode_fleet_keys(fleet_keys_of(fleet, epoch=7)), "notes": b"x"}
    )
    draft.delegate("gas", delegated)
    told = tiny_descriptor(tiny_artifact("tiny", 1, "int8"))
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(told.manifest.metrics.items())[:3])
    gate = "passed" if told.promotion.passed else "FAILED"
    assert describe(draft.finish()) == (
        "root 1 -> 2, holds until 2036-11-23",
        f"root: 2 of 2 keys: {ids['root']} +{tuf_key(public).keyid[:8]}",
        f"targets: 1 of 1 keys: {ids['targets']}",
        f"snapshot: 1 of 1 keys: {ids['snapshot']}",
        f"timestamp: 1 of 1 keys: {ids['timestamp']}",
        f"+ key {tuf_key(public).keyid[:8]}: {public.hex}",
        "targets 2 -> 3, holds until 2027-11-26",
        f"~ fleet/keys.json: fleet key {fleet.hex[:8]} of epoch 7",
        f"+ {MODEL}: {told.digest}, {told.size_bytes} B, {metrics}, promotion gate {gate}",
        "+ notes: 1 B",
        f"+ delegation of gas to key {tuf_key(delegated).keyid[:8]} until 2027-02-24",
    )


def test_what_goes_is_said_too(repository, keys):
    delegating.delegate(repository, "gas", NOW)
    root = next(key.key_id for key in repository.role_keys() if key.role == "root")
    draft = Draft(repository.base(), NOW)
    public = SigningKey.generate().public
    draft.replace("root", [root], [public])
    draft.unlist(["fleet/keys.json", "never/there"])
    draft.undelegate("gas")
    shown = describe(draft.finish())
    assert shown[1] == f"root: 1 of 1 keys: +{tuf_key(public).keyid[:8]} -{root[:8]}"
    assert shown[-2:] == ("- fleet/keys.json", "- delegation of gas")
    again = Draft(repository.base(), NOW)
    again.begin_again({role: SigningKey.generate().public for role in ("root", "targets", "snapshot", "timestamp")})
    assert any(line.startswith("BEGINS AGAIN") for line in describe(again.finish()))


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


def test_every_signature_holds_for_a_whole_life(repository):
    draft = Draft(repository.base(), NOW)
    draft.renew(["root", "targets"])
    change = draft.finish()
    assert (change.root.signed.version, change.targets.signed.version) == (2, 3)
    assert change.root.signed.expires == NOW + limits.ROOT_LIFE
    assert change.targets.signed.expires == NOW + limits.TARGETS_LIFE
    for role, other in (("root", "targets"), ("targets", "root")):
        one = Draft(repository.base(), NOW)
        one.renew([role])
        assert getattr(one.finish(), role) is not None
        assert getattr(one.finish(), other) is None
    with pytest.raises(InputError, match="'snapshot' has one key"):
        Draft(repository.base(), NOW).renew(["snapshot"])


def test_other_targets_keys_sign_today_s_list_again(repository):
    """Else a device that takes the new root would find targets that nobody it trusts has signed."""
    ids = {key.role: key.key_id for key in repository.role_keys()}
    beside, instead = (Draft(repository.base(), NOW) for _ in range(2))
    beside.trust("targets", [SigningKey.generate().public])
    assert beside.finish().targets is None
    instead.replace("targets", [ids["targets"]], [SigningKey.generate().public])
    change = instead.finish()
    assert change.targets.signed.targets == repository.base().targets.signed.targets
    assert not is_signed(replace(change, targets=None))


def test_a_key_gives_its_place_to_another(repository):
    ids = {key.role: key.key_id for key in repository.role_keys()}
    public = SigningKey.generate().public
    draft = Draft(repository.base(), NOW)
    draft.trust("root", [public], replaces=ids["root"][:6])
    assert [one.key_id for one in trusted_keys(draft.finish().root.signed) if one.role == "root"] == [
        tuf_key(public).keyid
    ]
    with pytest.raises(NotFoundError, match="is a key of targets, not of root"):
        Draft(repository.base(), NOW).trust("root", [public], replaces=ids["targets"])


def test_a_key_that_is_named_too_shortly_is_not_guessed(repository):
    root = repository.base().root.signed
    one = trusted_keys(root)[0]
    assert find_key(root, one.key_id[:7].upper()) == one
    with pytest.raises(NotFoundError, match="no key ''"):
        find_key(root, "")
    common = Draft(repository.base(), NOW)
    # With 16 more keys, two of them begin with the same character.
    common.trust("targets", [SigningKey.generate().public for _ in range(15)])
    trusted = common.finish().root.signed
    first = [one.key_id[0] for one in trusted_keys(trusted)]
    twice = next(letter for letter in first if first.count(letter) > 1)
    with pytest.raises(InputError, match="keys begin with"):
        find_key(trusted, twice)


def test_a_role_has_no_more_keys_than_metadata_shall_hold(repository):
    many = [SigningKey.generate().public for _ in range(limits.MAX_ROLE_KEYS)]
    with pytest.raises(InputError, match="17 keys, at most 16"):
        Draft(repository.base(), NOW).trust("root", many)
    Draft(repository.base(), NOW).trust("root", many[1:])


@pytest.mark.parametrize("threshold", [0, 2])
def test_a_threshold_is_between_one_and_all(repository, threshold):
    with pytest.raises(InputError, match=f"need {threshold} signatures"):
        Draft(repository.base(), NOW).trust("root", [], threshold=threshold)


def test_a_revoked_key_is_named(repository):
    public = SigningKey.generate().public
    draft = Draft(repository.base(), NOW)
    draft.trust("root", [public])
    with pytest.raises(NotFoundError):
        draft.revoke(tuf_key(public).keyid)
    known = next(key for key in repository.role_keys() if key.role == "root")
    gone = draft.revoke(known.key_id, threshold=1)
    assert (gone.role, gone.key_id, gone.public_hex) == ("root", known.key_id, known.public_hex)


def test_what_is_listed_already_is_no_change(repository, draft):
    draft.list({"fleet/keys.json": b"{}"})
    assert draft.unlist(["never/there"]) == ()
    assert draft.finish().is_empty
    with pytest.raises(TrustError, match="changes nothing"):
        check(draft.finish(), now=NOW)
    with pytest.raises(NotFoundError, match="gas has no delegation"):
        draft.undelegate("gas")


def test_a_file_that_is_too_large_is_not_read():
    with pytest.raises(InputError, match="at most"):
        decode_change(b" " * (limits.MAX_CHANGE_BYTES + 1))


def test_metadata_of_another_role_is_refused(repository):
    with pytest.raises(TrustError, match="metadata of root where targets is expected"):
        read_base([repository.trusted_root()], repository.trusted_root())
    with pytest.raises(TrustError, match="not TUF metadata of root"):
        read_base([b"{}"], repository.trusted_root())


@pytest.mark.parametrize("part", ["root", "targets"])
def test_a_version_that_does_not_follow_is_not_signed(repository, part):
    draft = Draft(repository.base(), NOW)
    draft.renew([part])
    change = draft.finish()
    getattr(change, part).signed.version += 1
    with pytest.raises(TrustError, match="does not follow on"):
        check(change, now=NOW)


def test_a_root_without_consistent_snapshots_is_not_signed(repository):
    draft = Draft(repository.base(), NOW)
    draft.renew(["root"])
    change = draft.finish()
    change.root.signed.consistent_snapshot = False
    with pytest.raises(TrustError, match="consistent snapshots"):
        check(change, now=NOW)


def test_a_chain_of_roots_with_a_gap_is_not_signed_upon(repository, keys):
    first = repository.trusted_root()
    for _ in range(2):
        draft = Draft(repository.base(), NOW)
        draft.renew(["root"])
        change = draft.finish()
        sign(change, by_id(keys))
        repository.submit(change, NOW)
    base = repository.base()
    check_base(base, pinned=first)
    with pytest.raises(TrustError, match="root 3 was not signed by the keys of the one before"):
        check_base(replace(base, roots=(base.roots[0], base.roots[2])), pinned=first)
    stranger = deepcopy(base.root)
    stranger.signatures.clear()
    with pytest.raises(TrustError, match="root 3 is not signed by its own keys"):
        check_base(replace(base, roots=(stranger,)))


def test_a_server_publishes_only_with_its_own_keys_at_hand(repository, keys):
    draft = Draft(repository.base(), NOW)
    root = draft.base.root.signed
    draft.replace("snapshot", list(root.roles["snapshot"].keyids), [SigningKey.generate().public])
    change = draft.finish()
    sign(change, by_id(keys))
    with pytest.raises(ConfigError, match="the snapshot key is not on this machine"):
        repository.submit(change, NOW)
    assert not (keys.parent / "repository/pending-change.json").exists()


def test_too_few_keys_of_a_role_on_one_machine_are_counted(repository, keys):
    draft = Draft(repository.base(), NOW)
    public = SigningKey.generate()
    draft.trust("targets", [public.public], threshold=2)
    change = draft.finish()
    sign(change, by_id(keys) | {tuf_key(public.public).keyid: signer_of(public)})
    repository.submit(change, NOW)
    with pytest.raises(ConfigError, match="1 of the 2 targets keys that must sign are on this machine"):
        repository.publish({"x": b"1"}, NOW)
    assert not repository.can_sign("x", NOW)
    assert {key.threshold for key in repository.role_keys() if key.role == "targets"} == {2}


def test_a_file_of_today_alone_changes_nothing(draft):
    file = json.loads(encode_change(draft.finish()))
    change = decode_change(
        json.dumps({name: file[name] for name in ("format", "today_roots", "today_targets")}).encode()
    )
    assert change.is_empty
    assert not change.begins_again
    assert not replace(change, files={}).begins_again


def test_a_file_that_says_more_is_refused(draft):
    file = json.loads(encode_change(draft.finish()))
    with pytest.raises(InputError):
        decode_change(json.dumps(file | {"more": 1}).encode())
