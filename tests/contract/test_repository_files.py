"""The TUF repository over HTTP."""

from edgeops.trust.reissue import Reissue
from tests.contract.rig import START


def test_what_a_restore_signed_again_is_served(rig):
    """Its versions count seconds since 1970; devices that enrol, or that believe no server, ask for it here."""
    versions = Reissue(rig.config.repository, rig.config.keys).count_higher(START).versions
    assert versions["snapshot"] == versions["targets"] == int(START.timestamp())
    for role in ("snapshot", "targets"):
        answer = rig.http.get(f"/tuf/metadata/{versions[role]}.{role}.json")
        assert answer.status_code == 200
        assert answer.json()["signed"]["version"] == versions[role]
