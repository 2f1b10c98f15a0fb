"""The guard itself: a test that leaves the machine fails by name."""

import socket

import pytest

from tests.conftest import NotLoopbackError


def test_another_machine_is_out_of_reach():
    # 192.0.2.0/24 is reserved for documentation (RFC 5737); nothing is sent.
    with socket.socket() as client, pytest.raises(NotLoopbackError, match="loopback only"):
        client.connect(("192.0.2.1", 9))
