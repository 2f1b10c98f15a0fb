"""Where a site listens, as a person asks for it."""

import pytest

from edgeops.errors import ConfigError
from edgeops.local.listening import Listening


def test_at_first_a_site_is_on_loopback_and_plain():
    listening = Listening()
    assert (listening.tls, listening.beyond, listening.url(8470)) == (False, False, "http://127.0.0.1:8470")
    assert listening.arguments() == ("--listen", "127.0.0.1")


def test_tls_may_be_spoken_on_loopback_too():
    listening = Listening(forced_tls=True)
    assert (listening.tls, listening.beyond, listening.url(1)) == (True, False, "https://127.0.0.1:1")
    assert listening.arguments() == ("--listen", "127.0.0.1", "--tls")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("0.0.0.0", "https://127.0.0.1:8470"),
        ("::", "https://[::1]:8470"),
        ("192.168.1.7", "https://192.168.1.7:8470"),
        ("2001:db8::7", "https://[2001:db8::7]:8470"),
    ],
)
def test_beyond_loopback_tls_is_spoken_and_this_machine_reaches_it_too(address, url):
    listening = Listening(address=address, hosts=("fleet.example",))
    assert (listening.tls, listening.beyond, listening.url(8470)) == (True, True, url)
    assert listening.arguments() == ("--listen", address, "--host", "fleet.example")


@pytest.mark.parametrize("address", ["fleet.example", "", "localhost", "1.2.3.4:80"])
def test_what_is_no_ip_address_is_refused(address):
    with pytest.raises(ConfigError, match="name an IP address"):
        Listening(address=address, hosts=("fleet.example",))


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_every_address_needs_a_name_for_devices(address):
    with pytest.raises(ConfigError, match="--host HOST"):
        Listening(address=address)
