"""What a device believes of a delegated key: the real trust child against a real repository, honest and not."""

from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from edgeops import limits
from edgeops.trust.frames import FailureKind, Result
from edgeops.trust.signers import signers_in
from tests.delegating import delegate, undelegate
from tests.integration.trust_rig import DESCRIPTOR, Site, kind_of, listed

AUTO = "models/digits/auto/2-int8.json"
ACCEPTANCE = "models/digits/acceptance"
END = limits.DELEGATION_LIFE


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    delegate(site.repository, "digits", site.now, alongside={ACCEPTANCE: b"set"})
    site.repository.publish({AUTO: b'{"two": 2}'}, site.now)
    return site


class Thief:
    """Has every key that lies on a server whose root and targets keys are offline, and a pen of its own."""

    def __init__(self, site: Site) -> None:
        self._folder = site.served
        self._signers = {role: key for role, key in signers_in(site.keys).items() if role not in ("root", "targets")}

    def _read(self, name: str) -> Metadata:
        return Metadata.from_file(str(self._folder / "metadata" / name))

    def listing(self, role: str) -> Metadata[Targets]:
        return self._read(f"{self._snapshot().signed.meta[f'{role}.json'].version}.{role}.json")

    def _snapshot(self) -> Metadata[Snapshot]:
        return self._read(f"{self._read('timestamp.json').signed.snapshot_meta.version}.snapshot.json")

    def put(self, role: str, metadata: Metadata[Targets], *, key: str | None = None) -> None:
        """Sign a listing with `key`, and have snapshot and timestamp lead to it."""
        snapshot, timestamp = self._snapshot(), self._read("timestamp.json")
        metadata.signed.version += 1
        if key is not None:
            metadata.sign(self._signers[key])
        self._write(f"{metadata.signed.version}.{role}.json", metadata)
        snapshot.signed.meta[f"{role}.json"] = MetaFile(metadata.signed.version)
        snapshot.signed.version += 1
        snapshot.sign(self._signers[Snapshot.type])
        self._write(f"{snapshot.signed.version}.snapshot.json", snapshot)
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        timestamp.sign(self._signers[Timestamp.type])
        self._write("timestamp.json", timestamp)

    def add(self, role: str, path: str, content: bytes, *, key: str) -> None:
        """Make `role` list a target, signed with `key`."""
        metadata = self.listing(role)
        file = TargetFile.from_data(path, content, ["sha256"])
        metadata.signed.targets[path] = file
        place = self._folder / "targets" / file.get_prefixed_paths()[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self.put(role, metadata, key=key)

    def _write(self, name: str, metadata: Metadata) -> None:
        metadata.to_file(str(Path(self._folder) / "metadata" / name))


def test_an_auto_model_that_its_own_key_listed_is_accepted(site):
    outcome = site.ask(AUTO, ACCEPTANCE)
    assert isinstance(outcome, Result)
    assert outcome.targets == {AUTO: b'{"two": 2}', ACCEPTANCE: b"set"}
    assert set(outcome.listed) == {DESCRIPTOR, ACCEPTANCE, AUTO}
    assert outcome.versions["auto-digits"] == 2
    assert outcome.expires["auto-digits"] == int((site.now + END).replace(microsecond=0).timestamp())


def test_the_child_fetches_no_delegated_metadata_that_was_not_asked_for(site):
    asked: list[str] = []

    def watch(path: str) -> bytes | None:
        asked.append(path)
        return site.read(path)

    assert listed(site.ask(DESCRIPTOR, fetch=watch)) == {DESCRIPTOR, ACCEPTANCE}
    assert not [path for path in asked if "auto-" in path]


def test_a_delegated_listing_signed_by_another_models_key_is_refused(site):
    delegate(site.repository, "gas", site.now)
    Thief(site).add("auto-digits", "models/digits/auto/9-int8.json", b"{}", key="auto-gas")
    assert kind_of(site.ask("models/digits/auto/9-int8.json")) is FailureKind.UNSIGNED
    assert listed(site.ask(DESCRIPTOR)) == {DESCRIPTOR, ACCEPTANCE}, "others are not harmed"


def test_a_delegation_that_has_ended_is_refused(site):
    assert isinstance(site.ask(AUTO), Result)
    late = site.now + END + timedelta(minutes=1)
    site.repository.refresh(late)
    assert kind_of(site.ask(AUTO, now=late)) is FailureKind.EXPIRED
    assert listed(site.ask(DESCRIPTOR, now=late)) == {DESCRIPTOR, ACCEPTANCE}


def test_a_stolen_key_cannot_prolong_its_own_delegation(site):
    thief = Thief(site)
    late = site.now + END + timedelta(minutes=1)
    listing = thief.listing("auto-digits")
    listing.signed.expires = late + timedelta(days=3650)
    thief.put("auto-digits", listing, key="auto-digits")
    site.repository.refresh(late)
    assert isinstance(site.ask(AUTO), Result)
    attack = site.ask(AUTO, now=late)
    assert kind_of(attack) is FailureKind.EXPIRED
    assert "the delegation that covers models/digits/auto/2-int8.json ended" in attack.detail


def test_after_undelegate_nothing_of_it_is_listed_and_every_device_that_saw_it_goes_on(site):
    assert isinstance(site.ask(AUTO), Result)
    undelegate(site.repository, "digits", site.now, alongside=[ACCEPTANCE])
    outcome = site.ask(AUTO, ACCEPTANCE)
    assert isinstance(outcome, Result)
    assert outcome.targets == {AUTO: None, ACCEPTANCE: None}
    assert set(outcome.listed) == {DESCRIPTOR}
    delegate(site.repository, "digits", site.now)
    site.repository.publish({AUTO: b"again"}, site.now)
    assert site.ask(AUTO).targets == {AUTO: b"again"}


def test_a_removed_key_that_goes_on_signing_is_not_asked(site):
    thief = Thief(site)
    undelegate(site.repository, "digits", site.now)
    thief.add("auto-digits", "models/digits/auto/9-int8.json", b"{}", key="auto-digits")
    outcome = site.ask("models/digits/auto/9-int8.json")
    assert isinstance(outcome, Result)
    assert outcome.targets == {"models/digits/auto/9-int8.json": None}


@pytest.mark.parametrize(
    "path",
    [
        "models/digits/9-int8.json",
        "models/gas/auto/9-int8.json",
        "models/digits/auto/deep/9-int8.json",
        "models/digits/acceptance2",
        "fleet/keys.json",
    ],
)
def test_a_path_outside_the_delegation_is_not_listed_whoever_signed_it(site, path):
    Thief(site).add("auto-digits", path, b"{}", key="auto-digits")
    outcome = site.ask(AUTO, path)
    assert isinstance(outcome, Result)
    assert outcome.targets == {AUTO: b'{"two": 2}', path: None}
    assert path not in outcome.listed


def test_a_delegated_key_cannot_replace_the_acceptance_set(site):
    Thief(site).add("auto-digits", ACCEPTANCE, b"easier", key="auto-digits")
    assert site.ask(AUTO, ACCEPTANCE).targets[ACCEPTANCE] == b"set"


def test_delegated_metadata_of_before_is_a_rollback(site):
    older = site.copy("older")
    site.repository.publish({"models/digits/auto/3-int8.json": b"{}"}, site.now)
    assert isinstance(site.ask(AUTO), Result)
    back = site.ask(AUTO, fetch=lambda path: (older / path).read_bytes() if (older / path).exists() else None)
    assert kind_of(back) is FailureKind.ROLLBACK


def test_delegated_metadata_that_is_missing_is_told(site):
    attack = site.ask(AUTO, fetch=lambda path: None if "auto-digits" in path else site.read(path))
    assert kind_of(attack) is FailureKind.MISSING
