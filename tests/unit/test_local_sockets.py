"""Whose process listens on a port."""

import socket
import sys

import pytest

from edgeops.local import processes
from edgeops.local.endpoints import free_port
from edgeops.local.sockets import listens
from tests.unit.test_local_processes import wait_until

LISTEN = (
    "import socket, sys, time; server = socket.create_server((sys.argv[1], int(sys.argv[2])),"
    " family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET); time.sleep(60)"
)
#: As a broker does behind the process that keeps its log.
BEHIND = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LISTEN!r}, *sys.argv[1:]])"
IDLE = "import time; time.sleep(60)"


@pytest.fixture
def start(tmp_path):
    started = []

    def start_one(code, *arguments):
        name = f"child-{len(started)}"
        started.append(processes.start(name, [sys.executable, "-c", code, *arguments], logs=tmp_path))
        return started[-1].pid

    yield start_one
    processes.stop(started)


@pytest.mark.parametrize("code", [LISTEN, BEHIND], ids=["itself", "a child of it"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_child_that_listens_is_known_as_the_one_who_does(start, code, address):
    port = free_port()
    child = start(code, address, str(port))
    wait_until(lambda: listens(child, port))


def test_a_port_that_another_program_took_is_not_the_childs(start):
    child = start(IDLE)
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert not listens(child, other.getsockname()[1])


def test_a_port_that_the_child_is_connected_to_is_not_where_it_listens(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code = f"import socket; one = socket.create_connection(('127.0.0.1', {port})); {IDLE}"
        child = start(code)
        connection, (_, client_port) = other.accept()
        with connection:
            assert not listens(child, port)
            assert not listens(child, client_port)


def test_nobody_listens_on_a_free_port(start):
    assert not listens(start(IDLE), free_port())
