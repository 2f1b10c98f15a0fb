"""What people are told of a change, word for word: who signs reads nothing else, and who is refused must know why."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from edgeops import limits
from edgeops.artifact.manifest import Promotion, encode_value
from edgeops.errors import ConfigError, ConflictError, TrustError
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.authorities import AUTHORITIES_TARGET, encode_authorities
from edgeops.trust.change import check_shape, sign
from edgeops.trust.draft import Draft
from edgeops.trust.issuing import new_issuer
from edgeops.trust.keyring import FLEET_KEYS_TARGET, FleetKey, FleetKeys, encode_fleet_keys
from edgeops.trust.repository import Repository
from edgeops.trust.review import describe, lists_models_only
from edgeops.trust.signers import by_id
from tests.delegating import delegate
from tests.golden.tiny import tiny_artifact, tiny_descriptor

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MODEL = "models/tiny/1-int8.json"
AUTO = "models/digits/auto/2-int8.json"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def repository(tmp_path, keys):
    return Repository.create(tmp_path / "repository", keys, NOW)


@pytest.fixture
def draft(repository):
    return Draft(repository.base(), NOW)


def said_of(draft, path):
    (line,) = (one for one in describe(draft.finish()) if path in one)
    return line


# -- what a signer reads ----------------------------------------------------------------------


def test_the_first_three_metrics_are_shown_and_that_the_promotion_gate_failed(draft):
    judged = tiny_descriptor(tiny_artifact())
    judged = replace(
        judged,
        manifest=replace(judged.manifest, metrics={"recall": 0.5, "accuracy": 0.75, "loss": 2.0, "margin": 0.25}),
        promotion=Promotion(passed=False),
    )
    draft.list({MODEL: encode_value(judged)})
    assert said_of(draft, MODEL) == (
        f"+ {MODEL}: {judged.digest}, {judged.size_bytes} B, accuracy 0.75, loss 2, margin 0.25, promotion gate FAILED"
    )


def test_every_fleet_key_and_every_ca_is_shown(draft):
    publics = [SigningKey.generate().public.hex for _ in range(2)]
    fleet = tuple(FleetKey(epoch=epoch, public_hex=public) for epoch, public in enumerate(publics, 1))
    first, second = (new_issuer(NOW + timedelta(days=day)).authority for day in range(2))
    draft.list(
        {
            FLEET_KEYS_TARGET: encode_fleet_keys(FleetKeys(epoch=2, keys=fleet)),
            AUTHORITIES_TARGET: encode_authorities([first, second]),
        }
    )
    assert said_of(draft, FLEET_KEYS_TARGET) == (
        f"+ {FLEET_KEYS_TARGET}: fleet key {publics[0][:8]} of epoch 1, fleet key {publics[1][:8]} of epoch 2"
    )
    assert said_of(draft, AUTHORITIES_TARGET) == (
        f"+ {AUTHORITIES_TARGET}: CA {first.fingerprint} until {first.ends:%Y-%m-%d}, "
        f"CA {second.fingerprint} until {second.ends:%Y-%m-%d}"
    )


def test_a_file_that_lists_a_model_and_changes_who_may_sign_does_more_than_list_a_model(draft):
    draft.list({MODEL: encode_value(tiny_descriptor(tiny_artifact()))})
    draft.trust("root", [SigningKey.generate().public])
    assert lists_models_only(draft.finish()) is False


# -- why something is refused -----------------------------------------------------------------


@pytest.mark.parametrize("role", ["root", "targets"])
def test_which_part_does_not_follow_or_has_ended_is_told(draft, role):
    draft.renew([role])
    part = getattr(draft.finish(), role)
    part.signed.expires = NOW
    with pytest.raises(TrustError, match=f"what would be signed for {role} has ended at"):
        check_shape(draft.finish(), now=NOW)
    part.signed.version = 5
    with pytest.raises(TrustError, match=f"^{role} 5 does not follow on 1; make it again"):
        check_shape(draft.finish(), now=NOW)


@pytest.mark.parametrize("role", ["root", "targets"])
def test_what_another_change_replaced_in_the_meantime_is_told(repository, keys, role):
    first, late = (Draft(repository.base(), NOW) for _ in range(2))
    for one in (first, late):
        one.renew([role])
    late.trust("root", [SigningKey.generate().public])
    change = first.finish()
    sign(change, by_id(keys))
    repository.submit(change, NOW)
    with pytest.raises(ConflictError, match=f"^the change was made of {role} 1, and today it is 2; make it again"):
        repository.submit(late.finish(), NOW)


def test_every_part_that_lacks_signatures_is_told(repository, draft):
    draft.renew(["root", "targets"])
    with pytest.raises(ConflictError) as refused:
        repository.submit(draft.finish(), NOW)
    assert str(refused.value) == (
        "root (by the keys of today) has 0 of 1 signatures, root has 0 of 1 signatures, targets has 0 of 1 signatures; "
        "let others sign it: edgeops key sign FILE --keys DIR"
    )


def test_targets_that_a_new_root_leaves_behind_are_told(repository, keys, draft):
    draft.trust("targets", [SigningKey.generate().public], threshold=2)
    change = draft.finish()
    change = type(change)(base=change.base, root=change.root)
    sign(change, by_id(keys))
    with pytest.raises(ConflictError) as refused:
        repository.submit(change, NOW)
    assert str(refused.value).startswith(
        "the targets of today do not hold with the keys that this root trusts, and it brings no others; let others"
    )


def test_a_role_s_keys_are_named_by_the_beginnings_of_their_ids(repository, keys, tmp_path, draft):
    stick = tmp_path / "stick"
    stick.mkdir()
    second = SigningKey.generate()
    write_private_key(stick / "targets.pem", second)
    draft.trust("targets", [second.public], threshold=2)
    change = draft.finish()
    sign(change, by_id(keys, stick))
    repository.submit(change, NOW)
    ids = sorted(key.key_id[:8] for key in repository.role_keys() if key.role == "targets")
    with pytest.raises(ConfigError) as refused:
        repository.publish({"x": b"1"}, NOW)
    assert str(refused.value).startswith(
        f"1 of the 2 targets keys that must sign are on this machine (of {ids[0]}, {ids[1]}); sign on several machines"
    )


def test_when_a_delegation_ended_is_told(repository):
    end = delegate(repository, "digits", NOW).expires
    assert end == NOW + limits.DELEGATION_LIFE
    with pytest.raises(ConfigError, match="the delegation of digits ended at 2027-02-24T12:00:00"):
        repository.publish({AUTO: b"{}"}, end)
