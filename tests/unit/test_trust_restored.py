"""What a restored repository signs again: with every key that must, with none that went, and as little above as needed."""

from datetime import timedelta

import pytest
from tuf.api.metadata import Metadata

from edgeops import limits
from edgeops.protocol.keys import SigningKey, write_private_key
from edgeops.trust.change import sign
from edgeops.trust.draft import Draft
from edgeops.trust.reissue import Reissue
from edgeops.trust.signers import by_id
from tests.delegating import delegate
from tests.integration.trust_rig import DESCRIPTOR, Site, listed

AUTO = "models/digits/auto/2-int8.json"


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def newest(site, role):
    metadata = site.served / "metadata"
    timestamp = Metadata.from_file(str(metadata / "timestamp.json"))
    if role == "timestamp":
        return timestamp
    snapshot = Metadata.from_file(str(metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json"))
    if role == "snapshot":
        return snapshot
    return Metadata.from_file(str(metadata / f"{snapshot.signed.meta[f'{role}.json'].version}.{role}.json"))


def test_new_keys_of_the_server_sign_alone(site):
    Reissue(site.served, site.keys).replace_keys({}, site.now)
    root = site.repository.base().root.signed
    for role in ("snapshot", "timestamp"):
        assert list(newest(site, role).signatures) == root.roles[role].keyids
        assert newest(site, role).signed.expires == (site.now + limits.SIGNED_LIFE[role]).replace(microsecond=0)
    assert listed(site.ask()) == {DESCRIPTOR}


def test_several_keys_of_people_that_must_sign_all_do(site, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    draft = Draft(site.repository.base(), site.now)
    for role in ("root", "targets"):
        key = SigningKey.generate()
        write_private_key(stick / f"{role}.pem", key)
        draft.trust(role, [key.public], threshold=2)
    change = draft.finish()
    sign(change, by_id(site.keys, stick))
    assert site.repository.submit(change, site.now)
    assert not Reissue(site.served, site.keys).can_replace_keys
    assert Reissue(site.served, site.keys).missing(("root", "targets", "snapshot")) == ["root", "targets"]

    Reissue(site.served, site.keys, offline=[stick]).replace_keys({}, site.now)

    assert len(newest(site, "targets").signatures) == 2
    outcome = site.ask(DESCRIPTOR)
    assert listed(outcome) == {DESCRIPTOR}
    assert outcome.versions["root"] == 3


def test_a_clock_that_stood_still_counts_up_by_one(site):
    first = Reissue(site.served, site.keys).count_higher(site.now).versions
    assert first == dict.fromkeys(("targets", "snapshot", "timestamp"), int(site.now.timestamp()))
    again = Reissue(site.served, site.keys).count_higher(site.now).versions
    assert again == {role: version + 1 for role, version in first.items()}


@pytest.mark.parametrize("lacking", ["key", "time"])
def test_what_a_delegated_key_cannot_sign_now_is_left_as_it_was(site, lacking):
    end = delegate(site.repository, "digits", site.now).expires
    site.repository.publish({AUTO: b"{}"}, site.now)
    before = newest(site, "auto-digits")
    if lacking == "key":
        (site.keys / "auto-digits.pem").unlink()
    Reissue(site.served, site.keys).count_higher(end if lacking == "time" else end - timedelta(seconds=1))
    assert newest(site, "auto-digits") == before
    assert AUTO in listed(site.ask(AUTO))


def test_what_a_delegated_key_can_sign_it_signs_until_its_end(site):
    end = delegate(site.repository, "digits", site.now).expires
    site.repository.publish({AUTO: b"{}"}, site.now)
    now = end - timedelta(seconds=1)
    Reissue(site.served, site.keys).count_higher(now)
    assert newest(site, "auto-digits").signed.version == int(now.timestamp())
    assert newest(site, "auto-digits").signed.expires == end
    assert AUTO in listed(site.ask(AUTO))
