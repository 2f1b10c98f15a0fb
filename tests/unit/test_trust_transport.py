"""What OpenSSL is told, how a server is asked, and where plain TCP will do."""

import ssl
import threading
import urllib.error
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edgeops.errors import ConfigError
from edgeops.trust.issuing import new_issuer
from edgeops.trust.transport import NO_CHECK_TIME, believing, is_loopback, opener, unbelieved_context

NOW = datetime.now(UTC)


@pytest.fixture
def authorities(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text(new_issuer(NOW).authority.pem)
    return path


def test_whom_to_believe_is_in_the_file_and_nobody_else(authorities):
    context = believing(authorities)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert [one["subject"][0][0][1][:16] for one in context.get_ca_certs()] == ["EdgeOps fleet CA"]
    assert not context.verify_flags & NO_CHECK_TIME


def test_without_a_file_the_systems_cas_are_believed():
    context = believing(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not context.verify_flags & NO_CHECK_TIME


def test_time_may_be_left_out_but_neither_chain_nor_name(authorities):
    context = believing(authorities, judges_time=False)
    # X509_V_FLAG_NO_CHECK_TIME of OpenSSL.
    assert context.verify_flags == believing(authorities).verify_flags | 0x200000
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_cas_is_named(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem.*EDGEOPS_CA"):
        believing(path)


def test_what_proves_itself_is_fetched_from_anybody_over_a_modern_protocol():
    context = unbelieved_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_has_several_names(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.1.7", "example.org", "localhost.example.org"])
def test_other_machines_are_not_this_one(host):
    assert is_loopback(host) is False


class _Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/first" else 200)
        self.send_header("Location", "/second")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments):
        pass


def test_a_server_is_asked_without_proxies_and_where_it_is_said_to_be(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server = HTTPServer(("127.0.0.1", 0), _Elsewhere)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        ask = opener(unbelieved_context())
        url = f"http://127.0.0.1:{server.server_port}"
        with ask.open(f"{url}/second", timeout=30) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask.open(f"{url}/first", timeout=30)
        refused.value.close()
        assert refused.value.code == 302
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_context_that_is_given_is_the_one_that_is_used(authorities):
    context = believing(authorities)
    (handler,) = [one for one in opener(context).handlers if type(one).__name__ == "HTTPSHandler"]
    assert handler._context is context
