"""Ports that tests give to servers."""

import socket

from tests.integration import ports
from tests.integration.ports import free_port


def test_a_port_is_handed_out_once():
    assert len({free_port() for _ in range(100)}) == 100


def test_a_port_of_another_test_process_is_not_taken():
    # A lock belongs to whoever opened the file, so a second opening stands for another process.
    assert not ports._lock(free_port())


def test_a_port_on_which_somebody_listens_is_not_free():
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        assert not ports.is_free(listener.getsockname()[1])


def test_no_port_is_one_that_the_kernel_gives_to_connections():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert free_port() < ports._first_of_connections() <= listener.getsockname()[1]
