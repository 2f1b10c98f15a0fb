"""A prepared data folder and a real API process's worth of uvicorn in a thread, with a clock that tests move."""

import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import uvicorn

from edgeops.api.client import Client
from edgeops.api.roles import Role
from edgeops.protocol.keys import SigningKey
from edgeops.trust.transport import believing
from fleet_server.access import Access
from fleet_server.app import create_app
from fleet_server.db import devices
from fleet_server.setup import init
from tests.stores import config_for, database_in

DEADLINE_S = 30.0
START = datetime(2026, 1, 1, tzinfo=UTC)


class ApiRig:
    """`url`, one token per role, the database behind it; `close` stops everything.

    `proxied` = the data folder is that of a server that speaks TLS, and what is in front of this one speaks it.
    """

    def __init__(self, folder, *, tls=False, proxied=False, now=START):
        self.config = config_for(folder / "data", tls=tls or proxied)
        self.now = now
        self.database = database_in(self.config.db)
        init(self.config, now=self.now)
        access = Access(self.database)
        self.tokens = {
            role: access.create_token(f"a {role}", role, created_by="test", now=self.now).text for role in Role
        }
        self.app = create_app(self.config, now=lambda: self.now)
        certificate = self.config.certificate if tls else None
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.app, host="127.0.0.1", port=0, log_config=None, access_log=False, ws="none",
                ssl_certfile=certificate, ssl_keyfile=certificate,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        deadline = time.monotonic() + DEADLINE_S
        while not self._server.started:
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self._clients = []
        self._context = believing(self.config.authorities, judges_time=False) if tls else None
        self.http = httpx.Client(base_url=self.url, timeout=DEADLINE_S, verify=self._context or False)

    def client(self, role=Role.ADMIN):
        client = Client(self.url, self.tokens[role], context=self._context)
        self._clients.append(client)
        return client

    def request(self, method, path, *, role=None, **content):
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        request = self.http.build_request(method, path, headers=headers | content.pop("headers", {}), **content)
        answer = self.http.send(request, stream=True)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.close()  # it has no end
        else:
            answer.read()
        return answer

    def operations(self):
        """Every (method, path template) that the OpenAPI document names."""
        paths = self.http.get("/api/v1/openapi.json").json()["paths"]
        return {(method.upper(), path): operation for path, each in paths.items() for method, operation in each.items()}

    def enrol_device(self, device_id="pump-0001", **values):
        with self.database.write() as connection:
            devices.enrol(
                connection,
                device_id,
                name=values.pop("name", "pump"),
                hardware="board-1",
                public_key=SigningKey.generate().public,
                now=self.now,
                **values,
            )
        return device_id

    def pass_time(self, span=timedelta(seconds=1)):
        self.now += span

    def show_certificate(self):
        """As `fleet_server.app` does when the file has changed."""
        self._server.config.ssl.load_cert_chain(self.config.certificate)

    def close(self):
        for client in self._clients:
            client.close()
        self.http.close()
        self._server.should_exit = True
        self._thread.join(DEADLINE_S)
        self.database.close()


def assert_problem(answer, status):
    """The answer is a problem document of this status, and says something."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    return problem
