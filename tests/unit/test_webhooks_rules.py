"""Where a webhook may go, how it is signed, and when it is tried again."""

from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.errors import InputError
from edgeops.webhooks import check_url, key_of, objection, parse_allowed, pause_after, public_text, signed_headers

ALLOWED = ("hooks.example", "*.corp.example", "10.1.0.0/16", "::1")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://hooks.example/a?b=c", ("https", "hooks.example", 443)),
        ("https://HOOKS.example:8443/", ("https", "hooks.example", 8443)),
        ("https://a.b.corp.example", ("https", "a.b.corp.example", 443)),
        ("http://10.1.2.3/x", ("http", "10.1.2.3", 80)),
        ("http://[::1]:9/", ("http", "::1", 9)),
        ("http://[::ffff:10.1.2.3]/", ("http", "::ffff:10.1.2.3", 80)),
    ],
)
def test_a_listed_host_is_found(url, found):
    assert check_url(url, ALLOWED) == found


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/", "https://corp.example/", "https://xcorp.example/", "https://hooks.example.org/",
        "http://10.2.0.1/", "http://127.0.0.1/", "http://169.254.169.254/",
    ],
)  # fmt: skip
def test_another_host_is_not(url):
    with pytest.raises(InputError, match="not on the list"):
        check_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example/", "hooks.example", "https://", "https://user@hooks.example/", "https://hooks.example:x/",
        "https://hooks.example/#a", "https://hooks.examplé/", "https://[::1",
    ],
)  # fmt: skip
def test_what_is_no_receiver_is_refused(url):
    with pytest.raises(InputError, match="not a receiver"):
        check_url(url, ALLOWED)


def test_nothing_is_allowed_without_a_list():
    with pytest.raises(InputError):
        check_url("https://hooks.example/", parse_allowed("# nobody yet\n\n"))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.2.0.1", "192.168.1.1", "169.254.169.254", "::", "fe80::1", "224.0.0.1", "::7f00:1",
        "64:ff9b::7f00:1", "2002:a9fe:a9fe::", "fec0::1",
    ],
)  # fmt: skip
def test_a_name_that_leads_inside_is_refused(address):
    assert "not a public address" in objection("https", address, ALLOWED)


def test_ipv4_in_the_clothes_of_ipv6_is_ipv4():
    assert "not a public address" in objection("https", "::ffff:127.0.0.1", ALLOWED)
    assert objection("http", "::ffff:10.1.0.9", ALLOWED) is None


def test_a_public_address_is_reached_over_https_only():
    assert objection("https", "93.184.216.34", ALLOWED) is None
    assert "https only" in objection("http", "93.184.216.34", ALLOWED)


def test_each_receiver_has_a_key_of_its_own():
    secret = bytes(32)
    assert public_text(key_of(secret, "a")) == public_text(key_of(secret, "a"))
    assert public_text(key_of(secret, "a")) != public_text(key_of(secret, "b"))
    assert public_text(key_of(secret, "a")) != public_text(key_of(b"1" * 32, "a"))


def test_the_id_the_moment_and_the_body_are_signed():
    key = key_of(bytes(32), "a")
    made = {
        signed_headers(key, name, timestamp=at, body=body)["webhook-signature"]
        for name, at, body in (("m", 1, b"x"), ("n", 1, b"x"), ("m", 2, b"x"), ("m", 1, b"y"))
    }
    assert len(made) == 4


def test_pauses_grow_threefold_up_to_the_longest_and_end():
    pauses = [pause_after(attempts, jitter=1.0) for attempts in range(1, limits.WEBHOOK_ATTEMPTS + 1)]
    assert pauses[:3] == [timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=45)]
    assert pauses[-2] == limits.WEBHOOK_RETRY_MAX
    assert pauses[-1] is None
    assert sum(filter(None, pauses), timedelta()) > timedelta(days=1)
    assert pause_after(1, jitter=0.0) == timedelta(seconds=2.5)
