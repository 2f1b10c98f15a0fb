"""Delegated keys in the repository: what they may sign, until when, and what is left when they are gone."""

from datetime import UTC, datetime, timedelta

import pytest
from tuf.api.metadata import Metadata

from edgeops import limits
from edgeops.errors import ConfigError, ConflictError, InputError, TrustError
from edgeops.trust.delegation import delegations_in
from edgeops.trust.repository import Repository
from tests.delegating import delegate, undelegate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AUTO = "models/digits/auto/2-int8.json"
SIGNED = "models/digits/1-int8.json"
ACCEPTANCE = "models/digits/acceptance"
END = NOW + limits.DELEGATION_LIFE


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "repository"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def repository(folder, keys):
    return Repository.create(folder, keys, NOW)


def read(folder, name: str) -> Metadata:
    return Metadata.from_file(str(folder / "metadata" / name))


def current(folder, role: str) -> Metadata:
    snapshot = read(folder, f"{read(folder, 'timestamp.json').signed.snapshot_meta.version}.snapshot.json")
    return read(folder, f"{snapshot.signed.meta[f'{role}.json'].version}.{role}.json")


def test_a_delegation_is_one_terminating_role_with_a_key_and_an_end_of_its_own(repository, folder, keys):
    delegation = delegate(repository, "digits", NOW)

    role = current(folder, "targets").signed.delegations.roles["auto-digits"]
    assert (role.terminating, role.threshold, role.paths) == (True, 1, ["models/digits/auto/*"])
    assert role.keyids == [delegation.key_id]
    assert repository.delegations() == {"digits": delegation}
    assert delegation.expires == END
    assert (keys / "auto-digits.pem").exists()
    assert current(folder, "auto-digits").signed.expires == END


def test_what_stands_beside_a_delegation_is_listed_in_the_same_change(repository, folder):
    before = read(folder, "timestamp.json").signed.version
    delegate(repository, "digits", NOW, alongside={ACCEPTANCE: b"set"})
    assert set(repository.listed()) == {ACCEPTANCE}
    assert read(folder, "timestamp.json").signed.version == before + 1


def test_an_auto_target_is_signed_by_the_delegated_key_and_no_other_file_changes(repository, folder, keys):
    repository.publish({SIGNED: b"{}"}, NOW)
    delegate(repository, "digits", NOW)
    targets_before = current(folder, "targets").signed.version
    for offline in ("root", "targets"):
        (keys / f"{offline}.pem").unlink()

    Repository.open(folder, keys).publish({AUTO: b"{}"}, NOW)

    assert set(repository.listed()) == {SIGNED, AUTO}
    assert current(folder, "targets").signed.version == targets_before
    assert list(current(folder, "auto-digits").signatures) == [repository.delegations()["digits"].key_id]


def test_publishing_the_same_auto_target_again_signs_nothing(repository, folder):
    delegate(repository, "digits", NOW)
    repository.publish({AUTO: b"{}"}, NOW)
    before = (folder / "metadata/timestamp.json").read_bytes()
    repository.publish({AUTO: b"{}"}, NOW)
    assert (folder / "metadata/timestamp.json").read_bytes() == before


def test_without_a_delegation_even_the_targets_key_signs_no_auto_target(repository):
    delegate(repository, "gas", NOW)
    with pytest.raises(ConfigError, match="digits has no delegation"):
        repository.publish({AUTO: b"{}"}, NOW)
    assert not repository.can_sign(AUTO, NOW)
    assert repository.can_sign(SIGNED, NOW)


def test_a_delegation_that_has_ended_signs_nothing(repository):
    delegate(repository, "digits", NOW)
    assert repository.can_sign(AUTO, END - timedelta(seconds=1))
    assert not repository.can_sign(AUTO, END)
    with pytest.raises(ConfigError, match="the delegation of digits ended"):
        repository.publish({AUTO: b"{}"}, END)


def test_another_models_key_under_the_right_name_is_refused(repository, folder, keys):
    delegate(repository, "digits", NOW)
    delegate(repository, "gas", NOW)
    (keys / "auto-digits.pem").write_bytes((keys / "auto-gas.pem").read_bytes())
    confused = Repository.open(folder, keys)

    with pytest.raises(ConfigError, match="the auto-digits key is not on this machine"):
        confused.publish({AUTO: b"{}"}, NOW)
    assert not confused.can_sign(AUTO, NOW)
    at_hand = {key.model: key.at_hand for key in confused.role_keys() if key.model}
    assert at_hand == {"digits": False, "gas": True}


def test_renewing_takes_a_new_key_and_keeps_what_was_listed(repository, folder, keys):
    first = delegate(repository, "digits", NOW)
    repository.publish({AUTO: b"{}"}, NOW)
    stolen = (keys / "auto-digits.pem").read_bytes()

    second = delegate(repository, "digits", NOW + timedelta(days=60))

    assert second.key_id != first.key_id
    assert second.expires == END + timedelta(days=60)
    assert set(repository.listed()) == {AUTO}
    (keys / "auto-digits.pem").write_bytes(stolen)
    assert not Repository.open(folder, keys).can_sign(AUTO, NOW)


def test_undelegating_unlists_everything_the_key_signed_and_deletes_it(repository, folder, keys):
    repository.publish({SIGNED: b"{}"}, NOW)
    delegate(repository, "digits", NOW, alongside={ACCEPTANCE: b"set"})
    delegate(repository, "gas", NOW)
    repository.publish({AUTO: b"{}"}, NOW)

    undelegate(repository, "digits", NOW, alongside=[ACCEPTANCE])

    assert set(repository.listed()) == {SIGNED}
    assert set(repository.delegations()) == {"gas"}
    assert not (keys / "auto-digits.pem").exists()


def test_the_snapshot_never_forgets_a_delegated_role_and_its_version_only_grows(repository, folder):
    delegate(repository, "digits", NOW)
    repository.publish({AUTO: b"{}"}, NOW)
    before = current(folder, "auto-digits").signed.version
    undelegate(repository, "digits", NOW)
    assert current(folder, "auto-digits").signed.version == before

    delegate(repository, "digits", NOW)

    again = current(folder, "auto-digits").signed
    assert (again.version, again.targets) == (before + 1, {})


def test_withdrawing_covers_both_kinds_of_targets(repository):
    delegate(repository, "digits", NOW)
    repository.publish({SIGNED: b"{}", AUTO: b"{}"}, NOW)
    assert repository.withdraw([AUTO, SIGNED, "models/never/1-int8.json"], NOW) == (SIGNED, AUTO)
    assert repository.listed() == {}


@pytest.mark.parametrize("model", ["", "*", "a*c", "x", "Digits", "dig/its", "../keys"])
def test_a_name_that_no_model_can_have_gets_no_delegation(repository, model):
    with pytest.raises(InputError, match="not a model name"):
        delegate(repository, model, NOW)
    assert repository.delegations() == {}


def test_without_the_targets_key_nobody_delegates_or_takes_that_back(repository, folder, keys):
    delegate(repository, "gas", NOW)
    (keys / "targets.pem").unlink()
    online = Repository.open(folder, keys)
    with pytest.raises(ConflictError, match="targets has 0 of 1 signatures"):
        delegate(online, "digits", NOW)
    with pytest.raises(ConflictError, match="targets has 0 of 1 signatures"):
        undelegate(online, "gas", NOW)
    assert set(online.delegations()) == {"gas"}
    assert not (keys / "auto-digits.pem").exists()
    assert (keys / "auto-gas.pem").exists()


def test_the_targets_key_may_come_from_another_folder_for_a_moment(repository, folder, keys, tmp_path):
    (tmp_path / "stick").mkdir()
    (keys / "targets.pem").rename(tmp_path / "stick/targets.pem")
    delegate(Repository.open(folder, keys, offline=tmp_path / "stick"), "digits", NOW)
    assert (keys / "auto-digits.pem").exists()
    assert [path.name for path in (tmp_path / "stick").iterdir()] == ["targets.pem"]


def test_a_targets_key_of_another_fleet_is_refused(repository, folder, keys, tmp_path):
    Repository.create(tmp_path / "other", tmp_path / "other-keys", NOW)
    (keys / "targets.pem").unlink()
    with pytest.raises(ConfigError, match="the targets key is not on this machine"):
        Repository.open(folder, keys, offline=tmp_path / "other-keys").publish({SIGNED: b"{}"}, NOW)


def test_renewing_before_the_keys_go_away_gives_targets_a_whole_life(repository, folder):
    later = NOW + limits.TARGETS_LIFE * 0.3
    repository.renew(later)
    expires = {key.role: key.expires for key in repository.role_keys()}
    assert expires["targets"] == later + limits.TARGETS_LIFE


def test_delegated_metadata_is_forgotten_like_any_other(repository, folder):
    delegate(repository, "digits", NOW)
    for number in range(30):
        repository.publish({f"models/digits/auto/{number}-int8.json": b"{}"}, NOW)
    assert len(list((folder / "metadata").glob("*.auto-digits.json"))) == 16


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("soon", "ends at 'soon', which is no moment"),
        (7, "ends at 7, which is no moment"),
        ("2027-01-01T00:00:00", "which names no time zone"),
        (None, "has no end, or not one key"),
    ],
)
def test_a_delegation_whose_end_cannot_be_kept_is_no_delegation(repository, folder, end, why):
    delegate(repository, "digits", NOW)
    targets = current(folder, "targets").signed
    fields = targets.delegations.roles["auto-digits"].unrecognized_fields
    fields["x-edgeops-expires"] = end
    with pytest.raises(TrustError, match=why):
        delegations_in(targets)


def test_a_delegation_to_several_keys_is_none_of_ours(repository, folder):
    delegate(repository, "digits", NOW)
    targets = current(folder, "targets").signed
    targets.delegations.roles["auto-digits"].keyids.append("another")
    with pytest.raises(TrustError, match="not one key"):
        delegations_in(targets)


def test_a_delegation_that_is_taken_back_takes_its_key_with_it(repository, folder):
    gone = delegate(repository, "digits", NOW)
    kept = delegate(repository, "gas", NOW)
    undelegate(repository, "digits", NOW)
    delegations = current(folder, "targets").signed.delegations
    assert set(delegations.keys) == {kept.key_id}
    assert gone.key_id != kept.key_id
