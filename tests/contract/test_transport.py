"""What a device may ask before it believes the server: open, and proven by what is answered."""

import secrets
from datetime import datetime

import pytest

from edgeops.protocol.keys import read_private_key
from edgeops.trust.authorities import Authority
from edgeops.trust.moment import NONCE_BYTES, check_moment
from tests.contract.rig import assert_problem


def test_the_time_is_signed_by_the_fleet_key_for_this_question(rig):
    nonce = secrets.token_bytes(NONCE_BYTES)
    answer = rig.request("GET", f"/api/v1/time?nonce={nonce.hex()}").json()
    key = read_private_key(rig.config.fleet_key(1)).public
    at = datetime.fromisoformat(answer["at"])
    proof = {"key_id": answer["key_id"], "signature": bytes.fromhex(answer["signature"])}
    assert check_moment({key.key_id: key}, nonce=nonce, at=at, **proof) == at
    assert abs((at - rig.now).total_seconds()) < 1


@pytest.mark.parametrize("query", ["", "nonce=", "nonce=00", "nonce=" + "0" * 33, "nonce=" + "X" * 32])
def test_a_question_without_a_nonce_is_none(rig, query):
    problem = assert_problem(rig.request("GET", f"/api/v1/time?{query}"), 422)
    assert [error["pointer"] for error in problem["errors"]] == ["nonce"]


def test_the_cas_are_told_to_everybody_and_a_server_without_tls_shows_no_certificate(rig):
    answer = rig.request("GET", "/api/v1/authorities").json()
    (one,) = answer["authorities"]
    assert Authority.from_pem(one["pem"]).fingerprint == one["fingerprint"]
    assert (one["signs"], one["on_server"], answer["certificate"]) == (False, True, None)
