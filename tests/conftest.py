"""For all tests: the network is this machine's loopback, whatever the code under test tries; Ctrl-C reaches children."""

import signal
import socket

import pytest

from tests.standing import stands_on_a_database
from tests.stores import POSTGRESQL, SQLITE, STORES

_LOOPBACK = ("127.", "::1", "localhost")


class NotLoopbackError(AssertionError):
    """A test tried to talk to another machine."""


def pytest_collection_modifyitems(config, items):
    """With EDGEOPS_TEST_DATABASE=postgresql only those run that it makes another test of."""
    if STORES.by_default == SQLITE:
        return
    others = [one for one in items if "kind_of_database" in one.fixturenames or not stands_on_a_database(one)]
    config.hook.pytest_deselected(items=others)
    gone = set(others)
    items[:] = [one for one in items if one not in gone]


@pytest.fixture(autouse=True, scope="session")
def _loopback_only():
    """Refuse connections of this process to anything but loopback; children are started with loopback addresses."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOOPBACK):
            raise NotLoopbackError(f"a test tried to reach {address}; tests talk to loopback only")
        return connect(self, address)

    socket.socket.connect = guarded
    yield
    socket.socket.connect = connect


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """Children inherit that SIGINT is ignored, as a shell does for what runs in its background; tests send it to them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def kind_of_database(request):
    """For modules that are `stores.ON_BOTH`."""
    STORES.kind = request.param
    yield request.param
    STORES.kind = STORES.by_default


@pytest.fixture(autouse=True)
def _databases(request):
    """What a test made in its own folder is dropped with it."""
    yield
    folder = (request.node.funcargs or {}).get("tmp_path")  # None = Ctrl-C
    if folder is not None:
        STORES.forget(folder)


@pytest.fixture(autouse=True, scope="session")
def _database_server():
    yield
    STORES.stop()
