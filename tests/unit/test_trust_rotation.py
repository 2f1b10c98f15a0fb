"""Keys come, go and are stolen: what a device's real trust client believes then."""

from copy import deepcopy
from datetime import timedelta

import pytest
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from edgeops import limits
from edgeops.errors import ConfigError, ConflictError
from edgeops.protocol.keys import SigningKey, read_private_key, write_private_key
from edgeops.trust.change import sign
from edgeops.trust.custody import key_file
from edgeops.trust.draft import Draft
from edgeops.trust.frames import FailureKind, Result
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id, signer_of, signers_in, tuf_key
from tests.integration.trust_rig import DESCRIPTOR, SECOND, Site, kind_of, listed


class Fleet(Site):
    """A site whose root and targets keys lie with people, one folder each."""

    def __init__(self, folder):
        super().__init__(folder)
        self._folder = folder
        self.people = {}
        self.give("ann", "root", self.keys / "root.pem")
        (self.keys / "targets.pem").rename(self.person("ann") / "targets.pem")
        (self.keys / "root.pem").unlink()
        self.repository = Repository.open(self.served, self.keys)

    def person(self, name):
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def give(self, name, role, source=None):
        """A key of their own; its public half."""
        path = key_file(self.person(name), role)
        if source is None:
            write_private_key(path, SigningKey.generate())
        else:
            path.write_bytes(source.read_bytes())
        return self.public(name, role)

    def public(self, name, role):
        return read_private_key(key_file(self.person(name), role)).public

    def draft(self):
        return Draft(self.repository.base(), self.now)

    def signed(self, draft, *names):
        change = draft.finish()
        for name in names:
            sign(change, by_id(self.person(name)))
        return change

    def publish(self, draft, *names):
        assert self.repository.submit(self.signed(draft, *names), self.now)

    def two_of_three(self):
        draft = self.draft()
        draft.trust("root", [self.give("bob", "root"), self.give("carol", "root")], threshold=2)
        self.publish(draft, "ann", "bob")


@pytest.fixture
def site(tmp_path):
    return Fleet(tmp_path)


def replace_server_keys(site, *roles):
    draft = site.draft()
    root = draft.base.root.signed
    for role in roles:
        draft.replace(role, list(root.roles[role].keyids), [site.repository.prepare_key(role)])
    return draft


def test_a_device_walks_over_every_root_that_was_signed_by_the_one_before(site):
    site.ask()
    site.two_of_three()
    for old, new in (("bob", "dave"), ("carol", "erin")):
        draft = site.draft()
        draft.trust("root", [site.give(new, "root")], replaces=tuf_key(site.public(old, "root")).keyid)
        site.publish(draft, "ann", old, new)
    outcome = site.ask(DESCRIPTOR)
    assert isinstance(outcome, Result)
    assert outcome.versions["root"] == 4


def test_one_key_of_two_changes_no_root(site):
    site.two_of_three()
    draft = site.draft()
    draft.trust("root", [site.give("mallory", "root")], threshold=1)
    with pytest.raises(ConflictError, match=r"root \(by the keys of today\) has 1 of 2 signatures"):
        site.repository.submit(site.signed(draft, "ann", "mallory"), site.now)


def test_a_device_refuses_a_root_that_one_key_of_two_signed_wherever_it_comes_from(site):
    site.two_of_three()
    site.ask()
    draft = site.draft()
    draft.trust("root", [site.give("mallory", "root")], threshold=1)
    forged = site.signed(draft, "ann", "mallory").root
    (site.served / "metadata/3.root.json").write_bytes(forged.to_bytes())
    assert kind_of(site.ask()) is FailureKind.UNSIGNED
    (site.served / "metadata/3.root.json").unlink()
    assert listed(site.ask()) == {DESCRIPTOR}


def test_a_server_cannot_change_root_or_targets_with_all_that_lies_on_it(site):
    own = by_id(site.keys)
    for wanted in ("root", "targets"):
        draft = site.draft()
        draft.renew([wanted])
        change = draft.finish()
        assert sign(change, own) == ()
        with pytest.raises(ConflictError, match="signatures"):
            site.repository.submit(change, site.now)
    with pytest.raises(ConfigError, match="the targets key is not on this machine"):
        site.repository.publish({SECOND: b"{}"}, site.now)
    draft = replace_server_keys(site, "timestamp")
    change = draft.finish()
    sign(change, by_id(site.keys))
    (site.served / "metadata/2.root.json").write_bytes(change.root.to_bytes())
    assert kind_of(site.ask()) is FailureKind.UNSIGNED


def test_a_model_that_a_revoked_targets_key_signed_is_refused(site):
    site.ask()
    stolen = signers_in(site.person("ann"))["targets"]
    draft = site.draft()
    draft.replace("targets", [stolen.public_key.keyid], [site.give("bob", "targets")])
    site.publish(draft, "ann", "bob")
    assert listed(site.ask()) == {DESCRIPTOR}

    targets = deepcopy(site.repository.base().targets)
    evil = TargetFile.from_data(SECOND, b"{}", ["sha256"])
    targets.signed.targets[SECOND] = evil
    targets.signed.version += 1
    targets.sign(stolen)
    lead_to(site, targets)

    assert kind_of(site.ask(SECOND)) is FailureKind.UNSIGNED


def lead_to(site, targets):
    """Whoever has the server makes snapshot and timestamp name it."""
    metadata, signers = site.served / "metadata", signers_in(site.keys)
    targets.to_file(str(metadata / f"{targets.signed.version}.targets.json"))
    timestamp = Metadata.from_file(str(metadata / "timestamp.json"))
    snapshot = Metadata.from_file(str(metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json"))
    snapshot.signed.meta["targets.json"] = MetaFile(targets.signed.version)
    snapshot.signed.version += 1
    snapshot.sign(signers["snapshot"])
    snapshot.to_file(str(metadata / f"{snapshot.signed.version}.snapshot.json"))
    timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
    timestamp.signed.version += 1
    timestamp.sign(signers["timestamp"])
    timestamp.to_file(str(metadata / "timestamp.json"))


def test_versions_that_a_thief_counted_up_to_the_end_are_forgotten_with_the_keys_that_signed_them(site):
    """TUF specification 5.3.11: recovery from a fast-forward attack."""
    honest = site.copy("honest")
    snapshot, timestamp = (signers_in(site.keys)[role] for role in ("snapshot", "timestamp"))
    far = 2**31 - 2
    metadata = site.served / "metadata"
    ahead = Metadata.from_file(str(metadata / "timestamp.json"))
    before = Metadata.from_file(str(metadata / f"{ahead.signed.snapshot_meta.version}.snapshot.json"))
    before.signed.version = ahead.signed.version = far
    before.signed.meta["targets.json"] = MetaFile(far)
    before.sign(snapshot)
    before.to_file(str(metadata / f"{far}.snapshot.json"))
    ahead.signed.snapshot_meta = MetaFile(far)
    ahead.sign(timestamp)
    ahead.to_file(str(metadata / "timestamp.json"))
    assert kind_of(site.ask()) is FailureKind.MISSING, "no key of the thief's signs targets"

    site.served = honest
    site.repository = Repository.open(honest, site.keys)
    assert kind_of(site.ask()) is FailureKind.ROLLBACK
    site.publish(replace_server_keys(site, "timestamp"), "ann")
    assert kind_of(site.ask()) is FailureKind.ROLLBACK, "the snapshot is still the thief's"
    site.publish(replace_server_keys(site, "snapshot", "timestamp"), "ann")

    outcome = site.ask()
    assert listed(outcome) == {DESCRIPTOR}
    assert outcome.versions["snapshot"] < far


def test_several_people_sign_what_is_listed(site):
    draft = site.draft()
    draft.trust("targets", [site.give("bob", "targets")], threshold=2)
    site.publish(draft, "ann", "bob")
    draft = site.draft()
    draft.list({SECOND: b"{}"})
    with pytest.raises(ConflictError, match="targets has 1 of 2 signatures"):
        site.repository.submit(site.signed(draft, "bob"), site.now)
    site.publish(draft, "ann", "bob")
    assert listed(site.ask(SECOND)) == {DESCRIPTOR, SECOND}


def test_a_server_that_was_off_for_months_is_back_with_its_first_look(site):
    site.ask()
    late = site.now + timedelta(days=200)
    assert kind_of(site.ask(now=late)) is FailureKind.EXPIRED
    assert site.repository.refresh(late)
    assert listed(site.ask(now=late)) == {DESCRIPTOR}


def test_an_idle_server_signs_again_in_time_for_as_long_as_the_offline_signature_holds(site):
    for day in range(0, limits.TARGETS_LIFE.days, 10):
        at = site.now + timedelta(days=day)
        site.repository.refresh(at)
        assert listed(site.ask(now=at + timedelta(days=14))) == {DESCRIPTOR}, f"day {day}"
        if day + 24 >= limits.TARGETS_LIFE.days:
            break


def test_a_crash_between_a_new_root_and_what_its_keys_sign_is_ended_by_the_next_look(site):
    site.ask()
    pending = site.served / "pending-change.json"
    kept = {}

    def crash(name, data):
        kept["change"] = pending.read_bytes()
        if name == "timestamp.json":
            raise OSError("no power")
        write(name, data)

    draft = replace_server_keys(site, "snapshot", "timestamp")
    write = site.repository._storage.write_metadata
    site.repository._storage.write_metadata = crash
    with pytest.raises(OSError, match="no power"):
        site.repository.submit(site.signed(draft, "ann"), site.now)
    assert kind_of(site.ask()) is FailureKind.UNSIGNED
    assert pending.read_bytes() == kept["change"]

    Repository.open(site.served, site.keys).refresh(site.now)

    assert listed(site.ask()) == {DESCRIPTOR}
    assert not pending.exists()


def test_a_begun_again_chain_is_not_let_in_without_the_word_of_whoever_has_the_machine(site):
    draft = site.draft()
    new = {role: site.give("thief", role) for role in ("root", "targets")}
    new |= {role: site.repository.prepare_key(role) for role in ("snapshot", "timestamp")}
    draft.begin_again(new)
    with pytest.raises(ConflictError, match="edgeops key begin-again"):
        site.repository.submit(site.signed(draft, "thief"), site.now)


def test_a_signature_by_somebody_else_counts_for_nothing(site):
    draft = site.draft()
    draft.renew(["targets"])
    change = draft.finish()
    change.targets.sign(signer_of(SigningKey.generate()), append=True)
    with pytest.raises(ConflictError, match="targets has 0 of 1 signatures"):
        site.repository.submit(change, site.now)
