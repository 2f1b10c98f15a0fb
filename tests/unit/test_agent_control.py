"""The owner's socket."""

import stat

import pytest

from device_agent.control import ControlServer, ask
from edgeops.errors import MessageError, UnreachableError


@pytest.fixture
def folder(tmp_path):
    # Longer than a socket's address may be.
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    return deep


def serving(folder, answer):
    server = ControlServer(folder / "agent.sock", answer)
    server.start()
    return server


def test_a_request_is_answered_also_below_a_long_path(folder):
    server = serving(folder, lambda request, _: {"heard": request["do"]})
    assert ask(folder / "agent.sock", {"do": "status"}) == {"heard": "status"}
    assert ask(folder / "agent.sock", {"do": "more"}) == {"heard": "more"}
    assert stat.S_IMODE((folder / "agent.sock").stat().st_mode) == 0o600
    server.close()
    assert not (folder / "agent.sock").exists()


def test_a_refused_request_says_why_and_the_next_one_is_answered(folder):
    def answer(request, _connection):
        if request.get("do") == "bad":
            raise MessageError("no such thing")
        return {"ok": True}

    server = serving(folder, answer)
    with pytest.raises(MessageError, match="no such thing"):
        ask(folder / "agent.sock", {"do": "bad"})
    assert ask(folder / "agent.sock", {"do": "good"}) == {"ok": True}
    server.close()


def test_without_an_agent_the_error_says_what_to_start(folder):
    with pytest.raises(UnreachableError, match=r"edgeops-agent --state .* run"):
        ask(folder / "agent.sock", {"do": "status"})


def test_a_socket_left_by_a_dead_agent_is_taken_over(folder):
    first = ControlServer(folder / "agent.sock", lambda *_: {"agent": 1})
    second = serving(folder, lambda *_: {"agent": 2})
    assert ask(folder / "agent.sock", {}) == {"agent": 2}
    second.close()
    first.start()
    first.close()
