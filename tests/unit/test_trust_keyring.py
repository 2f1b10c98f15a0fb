"""The fleet keys target."""

import json

import pytest

from edgeops.errors import TrustError
from edgeops.protocol.keys import SigningKey
from edgeops.trust.keyring import AcceptedKeys, decode_fleet_keys, encode_fleet_keys, fleet_keys_of


def test_the_first_fleet_key_survives_the_way_to_a_device():
    public = SigningKey.generate().public

    keys = decode_fleet_keys(encode_fleet_keys(fleet_keys_of(public)))

    assert keys.epoch == 1
    assert keys.accepted() == AcceptedKeys({public.key_id: public}, {public.key_id: 1})


def test_a_key_that_is_being_replaced_is_still_accepted():
    old, new = SigningKey.generate().public, SigningKey.generate().public
    document = {"epoch": 2, "keys": [{"epoch": 1, "public_hex": old.hex}, {"epoch": 2, "public_hex": new.hex}]}

    accepted = decode_fleet_keys(json.dumps(document).encode()).accepted()
    assert accepted.epochs == {old.key_id: 1, new.key_id: 2}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"epoch": 1, "keys": []}',
        b'{"epoch": 1, "keys": [{"epoch": 1, "public_hex": "00"}]}',
        b'{"epoch": 0, "keys": [{"epoch": 1, "public_hex": "' + b"0" * 64 + b'"}]}',
        b'{"epoch": 9, "keys": [{"epoch": 1, "public_hex": "' + b"0" * 64 + b'"}]}',
        b'{"epoch": 1, "keys": [{"epoch": 1, "public_hex": "' + b"0" * 64 + b'", "extra": 1}]}',
    ],
)
def test_what_is_no_list_of_fleet_keys_is_refused(data):
    with pytest.raises(TrustError, match=r"fleet/keys\.json"):
        decode_fleet_keys(data)


def document(count=1, *, epoch=1, **more):
    keys = [{"epoch": epoch, "public_hex": SigningKey.generate().public.hex} for _ in range(count)]
    return json.dumps({"epoch": epoch, "keys": keys, **more}).encode()


def test_sixteen_keys_are_accepted_and_no_more():
    assert len(decode_fleet_keys(document(16)).keys) == 16
    with pytest.raises(TrustError):
        decode_fleet_keys(document(17))


def test_an_epoch_is_one_that_every_reader_of_json_can_hold():
    assert decode_fleet_keys(document(epoch=2**53)).epoch == 2**53
    with pytest.raises(TrustError):
        decode_fleet_keys(document(epoch=2**53 + 1))


def test_what_else_is_said_beside_the_keys_is_refused():
    with pytest.raises(TrustError):
        decode_fleet_keys(document(more=1))
    with pytest.raises(TrustError):
        decode_fleet_keys(document().replace(b'"epoch": 1, "public_hex"', b'"more": 1, "epoch": 1, "public_hex"'))
