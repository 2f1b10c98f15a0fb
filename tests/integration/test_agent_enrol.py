"""Enrolment against a small HTTP server and a real TUF repository."""

import json
import socket
import stat
import threading
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest

from device_agent.cli import main
from device_agent.config import StateFolder, read_device
from device_agent.enrol import enrol
from device_agent.trust import FleetKeys
from edgeops.errors import AccessError, ConfigError, ConflictError, ServerError, TrustError, UnreachableError
from edgeops.protocol.keys import SigningKey, read_private_key
from edgeops.trust.keyring import FLEET_KEYS_TARGET, encode_fleet_keys, fleet_keys_of
from edgeops.trust.repository import Repository

TOKEN = "edgeops_enrol-1_secret"


class Front(SimpleHTTPRequestHandler):
    """Answers `POST /api/v1/enrol` and serves the repository below `/tuf`."""

    site: "Site"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.site.requests.append((self.path, request))
        status, answer = self.site.answer(request)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/tuf"))

    def log_message(self, *_arguments) -> None:
        pass


class Site:
    def __init__(self, folder) -> None:
        self.repository = Repository.create(folder / "repository", folder / "keys", datetime.now(UTC))
        self.fleet_key = SigningKey.generate()
        self.requests: list = []
        handler = type("Handler", (Front,), {"site": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder / "repository")))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def announce(self) -> None:
        keys = encode_fleet_keys(fleet_keys_of(self.fleet_key.public))
        self.repository.publish({FLEET_KEYS_TARGET: keys}, datetime.now(UTC))

    def answer(self, request):
        if request["token"] != TOKEN:
            return 401, {"title": "Unauthorized", "detail": "this enrolment token was used already"}
        broker = {"host": "127.0.0.1", "port": 1883, "username": "meter-1a2b", "password": "broker-secret"}
        root = self.repository.trusted_root().decode()
        return 201, {"device_id": "meter-1a2b", "broker": broker, "root": root, "tuf_url": f"{self.url}/tuf"}

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "site")
    yield site
    site.close()


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path / "state")


def test_a_device_makes_its_key_and_learns_whom_to_trust(site, state, capsys):
    site.announce()
    assert main(["--state", str(state.path), "enrol", site.url, "--token", TOKEN, "--name", "Kitchen meter"]) == 0
    assert capsys.readouterr().out.strip() == "meter-1a2b"
    device = read_device(state)
    assert (device.id, device.name, device.broker_password) == ("meter-1a2b", "Kitchen meter", "broker-secret")
    ((path, request),) = site.requests
    assert path == "/api/v1/enrol"
    assert request["public_key"] == read_private_key(state.key).public.hex
    assert request["hardware"]
    assert site.fleet_key.public.key_id in FleetKeys(state.trust).accepted.publics
    modes = [stat.S_IMODE(file.stat().st_mode) for file in (state.path, state.key, state.device)]
    assert modes == [0o700, 0o600, 0o600]


def test_a_token_may_come_from_a_file_where_no_list_of_processes_shows_it(site, state, tmp_path):
    site.announce()
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert main(["--state", str(state.path), "enrol", site.url, "--token-file", str(file)]) == 0
    assert read_device(state).id == "meter-1a2b"


def test_a_token_may_come_from_stdin(site, state, monkeypatch):
    site.announce()
    monkeypatch.setattr("sys.stdin", StringIO(f"{TOKEN}\n"))
    assert main(["--state", str(state.path), "enrol", site.url, "--token-file", "-"]) == 0
    assert read_device(state).id == "meter-1a2b"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"x" * 100_000])
def test_a_file_that_holds_no_token_is_refused(state, tmp_path, capsys, content):
    file = tmp_path / "token"
    file.write_bytes(content)
    assert main(["--state", str(state.path), "enrol", "http://127.0.0.1:1", "--token-file", str(file)]) == 2
    assert "token" in capsys.readouterr().err


def test_a_second_enrolment_is_refused_and_changes_nothing(site, state):
    site.announce()
    enrol(state, site.url, token=TOKEN, name="meter")
    before = state.key.read_bytes()
    with pytest.raises(ConflictError, match="enrolled already"):
        enrol(state, site.url, token=TOKEN, name="meter")
    assert state.key.read_bytes() == before
    assert len(site.requests) == 1


def test_a_refused_token_says_why_and_leaves_no_identity(site, state):
    with pytest.raises(AccessError, match="was used already"):
        enrol(state, site.url, token="other", name="meter")
    assert not state.device.exists()
    assert not state.key.exists()


def test_fleet_keys_that_tuf_does_not_list_are_not_believed_but_the_device_is_enrolled(site, state):
    with pytest.raises(TrustError, match="enrolled as meter-1a2b, but without the fleet's keys"):
        enrol(state, site.url, token=TOKEN, name="meter")
    assert read_device(state).id == "meter-1a2b"
    assert not state.fleet_keys.exists()


def test_nobody_there_is_unreachable(state, capsys):
    with pytest.raises(UnreachableError, match="does not answer"):
        enrol(state, "http://127.0.0.1:1", token=TOKEN, name="meter")
    assert main(["--state", str(state.path), "enrol", "http://127.0.0.1:1", "--token", "t"]) == 5
    assert "does not answer" in capsys.readouterr().err


def test_something_else_than_a_url_is_refused(state):
    with pytest.raises(ConfigError, match="not a server address"):
        enrol(state, "file:///etc/passwd", token=TOKEN, name="meter")


def test_an_answer_that_is_none_of_ours_is_refused(site, state):
    site.answer = lambda _request: (200, {"hello": "world"})
    with pytest.raises(ServerError, match="no EdgeOps server"):
        enrol(state, site.url, token=TOKEN, name="meter")
    assert not state.device.exists()


def test_a_server_of_another_protocol_is_refused_in_words(state):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(65536)

        greeter = threading.Thread(target=greet)
        greeter.start()
        with pytest.raises(ServerError, match="no EdgeOps server"):
            enrol(state, f"http://127.0.0.1:{listener.getsockname()[1]}", token="t", name="meter")
        greeter.join()
